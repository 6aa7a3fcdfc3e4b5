"""One HTML page to look at and listen to: mixtures, references, estimates, errors and what they score.

The page is a single file that asks nothing of any server: its pictures and sounds are inside. It follows the light or
dark scheme of the reader, who hears all sounds of one example at one gain.
"""

from __future__ import annotations

import base64
import html
import io
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from unbraid.audio.formats import Encoding
from unbraid.audio.pending import PendingFile, write_pending
from unbraid.audio.recording import Recording
from unbraid.audio.soundfile_sink import SoundfileSink
from unbraid.errors import ConfigError
from unbraid.evaluation.plots import HEIGHT_PIXELS, RANGE_DB, WIDTH_PIXELS, Scale, common_scale, draw_sound
from unbraid.evaluation.scoring import Score

_STYLE = Path(__file__).with_name("report.css")


@dataclass(frozen=True, kw_only=True, eq=False)
class ReportItem:
    """One separated mixture."""

    title: str
    note: str
    """Where the sounds are from; line breaks are kept."""
    mixture: Recording
    references: Mapping[str, Recording]
    """By source name; the same rate, channels and length as the mixture."""
    estimates: Mapping[str, Recording]
    """By the name of the reference that they were assigned to."""
    score: Score
    model_seconds: float
    """Wall time of the separation."""


def write_report(
    path: str | os.PathLike[str],
    items: Sequence[ReportItem],
    *,
    title: str = "Separated by unbraid",
    facts: Mapping[str, str] | None = None,
) -> None:
    """Writes the page; `facts` (model, parameters, versions) are shown in its head as they are.

    Raises MissingExtraError without matplotlib.
    """
    for item in items:
        if set(item.references) != set(item.estimates):
            raise ConfigError(f"'{item.title}' has references and estimates of different names: give each of both")
    pending = PendingFile(path)
    try:
        write_pending(pending, build_page(items, title, facts or {}).encode("utf-8"))
    finally:
        pending.discard()


def build_page(items: Sequence[ReportItem], title: str, facts: Mapping[str, str]) -> str:
    """The page as text."""
    sounds = [sound for item in items for sound in (item.mixture, *item.references.values(), *item.estimates.values())]
    scale = common_scale(sounds)
    rows = "".join(f"<dt>{_escape(name)}</dt><dd>{_escape(text)}</dd>\n" for name, text in facts.items())
    sections = "\n".join(_item(index, item, scale) for index, item in enumerate(items, start=1))
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta http-equiv="Content-Security-Policy"
 content="default-src 'none'; img-src data:; media-src data:; style-src 'unsafe-inline'">
<title>{_escape(title)}</title>
<style>
{_STYLE.read_text(encoding="utf-8")}</style>
</head>
<body>
<main>
<header>
<h1>{_escape(title)}</h1>
<dl>
{rows}</dl>
<p>The SI-SDR compares, whatever the loudness, the energy of one source with that of everything else in a sound: at 0 dB
both are equal, at 10 dB the rest has a tenth of the energy, at 20 dB a hundredth. <em>Before</em> is the mixture as it
came, <em>after</em> the estimate, and the improvement is what the separation gained. The SNR also counts a wrong
loudness. A few examples show what to expect; they do not measure a model: <code>unbraid evaluate</code> does.</p>
<p>All pictures of this page have the same scales: amplitudes up to {scale.peak:.2g} of full scale, and
{RANGE_DB:.0f} dB from the strongest colour, {_decibels(scale.top_db)} dB against a full-scale sine, down to
none.</p>
</header>
{sections}
</main>
</body>
</html>
"""


def _item(index: int, item: ReportItem, scale: Scale) -> str:
    sounds = (item.mixture, *item.references.values(), *item.estimates.values())
    peak = max(float(np.abs(sound.samples).max(initial=0.0)) for sound in sounds)
    gain = min(1.0, 0.999 / peak) if peak > 0 else 1.0
    columns = []
    for name, reference in item.references.items():
        estimate = item.estimates[name]
        error = Recording(estimate.samples - reference.samples, reference.sample_rate)
        columns.append(
            f"""<div>
<h3>{_escape(name)}</h3>
{_figure("Reference", f"{name} alone, as it went into the mixture", reference, scale, gain)}
{_figure("Estimate", f"{name} as the model found it in the mixture", estimate, scale, gain)}
{_figure("Error", f"estimate minus reference of {name}: what is missing or too much", error, scale, None)}
</div>"""
        )
    length = f"{item.mixture.seconds:.1f} s at {item.mixture.sample_rate / 1000:g} kHz"
    return f"""<section aria-labelledby="item{index}">
<h2 id="item{index}">{_escape(item.title)}</h2>
<p class="note">{"<br>".join(_escape(line) for line in item.note.strip().splitlines())}</p>
<div class="columns">
{_figure("Mixture", "all sources together, which is all that the model was given", item.mixture, scale, gain)}
<div>
{_table(item)}
<p>{_escape(length)}, separated in {item.model_seconds:.2f} s.</p>
</div>
</div>
<div class="columns">
{"".join(columns)}
</div>
</section>"""


def _figure(kind: str, what: str, sound: Recording, scale: Scale, gain: float | None) -> str:
    """A picture with its player; without a gain there is nothing to hear."""
    picture = base64.b64encode(draw_sound(sound, scale)).decode()
    level = float(np.sqrt(np.square(sound.samples, dtype=np.float64).mean())) if sound.samples.size else 0.0
    loudness = f"{20 * math.log10(level):.1f} dB below full scale".replace("-", "") if level > 0 else "silent"
    alt = f"Waveform and spectrogram. {kind}: {what}. {sound.seconds:.1f} s, {loudness} on average."
    player = ""
    if gain is not None:
        data = base64.b64encode(to_flac(Recording(sound.samples * np.float32(gain), sound.sample_rate))).decode()
        label = _escape(f"Play: {kind.lower()}, {what}")
        player = (
            f'\n<audio controls preload="metadata" aria-label="{label}" src="data:audio/flac;base64,{data}"></audio>'
        )
    return f"""<figure>
<figcaption><strong>{_escape(kind)}</strong> {_escape(what)}</figcaption>
<img src="data:image/png;base64,{picture}" width="{WIDTH_PIXELS}" height="{HEIGHT_PIXELS}" alt="{_escape(alt)}">{player}
</figure>"""


def _table(item: ReportItem) -> str:
    rows = [
        (one.source, one.mixture_si_sdr_db, one.si_sdr_db, one.si_sdr_improvement_db, one.snr_db)
        for one in item.score.sources
    ]
    score = item.score
    if len(rows) > 1:
        rows.append(("mean", score.mixture_si_sdr_db, score.si_sdr_db, score.si_sdr_improvement_db, score.snr_db))
    body = "\n".join(
        f'<tr><th scope="row">{_escape(name)}</th>'
        f"<td>{_decibels(before)}</td><td>{_decibels(after)}</td>"
        f"<td><strong>{_decibels(gained, signed=True)}</strong></td><td>{_decibels(snr)}</td></tr>"
        for name, before, after, gained, snr in rows
    )
    return f"""<table>
<caption>Scores of {_escape(item.title)}, in dB; higher is better</caption>
<thead><tr><th scope="col">source</th><th scope="col">SI‑SDR before</th><th scope="col">SI‑SDR after</th>
<th scope="col">improvement</th><th scope="col">SNR</th></tr></thead>
<tbody>
{body}
</tbody>
</table>"""


def _decibels(value: float, signed: bool = False) -> str:
    if math.isnan(value):
        return "undefined"
    if math.isinf(value):
        return "∞" if value > 0 else "−∞"
    return f"{value:{'+' if signed else ''}.1f}".replace("-", "−")


def to_flac(recording: Recording) -> bytes:
    """A FLAC file of 16 bits in memory, which every browser plays; lossless, so that artefacts stay audible."""
    file = io.BytesIO()
    sink = SoundfileSink(
        file, recording.sample_rate, recording.num_channels, Encoding(container="flac", sample="int16")
    )
    sink.write(recording.samples)
    sink.finish()
    return file.getvalue()


def _escape(text: str) -> str:
    return html.escape(text, quote=True)

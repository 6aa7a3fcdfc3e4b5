"""A page about a few separated examples: mixtures, references, estimates, errors and what they score."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from unbraid.audio.recording import Recording
from unbraid.errors import ConfigError
from unbraid.evaluation.report.page import (
    common_gain,
    decibels,
    escape,
    fact_list,
    figure,
    scale_note,
    whole_page,
)
from unbraid.evaluation.scoring import Score
from unbraid.files.pending import PendingFile, write_pending
from unbraid.pictures.sounds import Scale, common_scale


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
            raise ConfigError(
                "has references and estimates of different names", subject=f"'{item.title}'", remedy="give each of both"
            )
    pending = PendingFile(path)
    try:
        write_pending(pending, build_page(items, title, facts or {}).encode("utf-8"))
    finally:
        pending.discard()


def build_page(items: Sequence[ReportItem], title: str, facts: Mapping[str, str]) -> str:
    """The page as text."""
    sounds = [sound for item in items for sound in (item.mixture, *item.references.values(), *item.estimates.values())]
    scale = common_scale(sounds)
    sections = "\n".join(_item(index, item, scale) for index, item in enumerate(items, start=1))
    return whole_page(
        title,
        f"""<header>
<h1>{escape(title)}</h1>
{fact_list(facts)}
<p>The SI-SDR compares, whatever the loudness, the energy of one source with that of everything else in a sound: at 0 dB
both are equal, at 10 dB the rest has a tenth of the energy, at 20 dB a hundredth. <em>Before</em> is the mixture as it
came, <em>after</em> the estimate, and the improvement is what the separation gained. The SNR also counts a wrong
loudness. A few examples show what to expect; they do not measure a model: <code>unbraid evaluate</code> does.</p>
{scale_note(scale)}
</header>
{sections}""",
    )


def _item(index: int, item: ReportItem, scale: Scale) -> str:
    sounds = (item.mixture, *item.references.values(), *item.estimates.values())
    gain = common_gain(sounds)
    columns = []
    for name, reference in item.references.items():
        estimate = item.estimates[name]
        error = Recording(estimate.samples - reference.samples, reference.sample_rate)
        columns.append(
            f"""<div>
<h3>{escape(name)}</h3>
{figure("Reference", f"{name} alone, as it went into the mixture", reference, scale, gain)}
{figure("Estimate", f"{name} as the model found it in the mixture", estimate, scale, gain)}
{figure("Error", f"estimate minus reference of {name}: what is missing or too much", error, scale, None)}
</div>"""
        )
    length = f"{item.mixture.seconds:.1f} s at {item.mixture.sample_rate / 1000:g} kHz"
    return f"""<section aria-labelledby="item{index}">
<h2 id="item{index}">{escape(item.title)}</h2>
<p class="note">{"<br>".join(escape(line) for line in item.note.strip().splitlines())}</p>
<div class="columns">
{figure("Mixture", "all sources together, which is all that the model was given", item.mixture, scale, gain)}
<div>
{_table(item)}
<p>{escape(length)}, separated in {item.model_seconds:.2f} s.</p>
</div>
</div>
<div class="columns">
{"".join(columns)}
</div>
</section>"""


def _table(item: ReportItem) -> str:
    rows = [
        (one.source, one.mixture_si_sdr_db, one.si_sdr_db, one.si_sdr_improvement_db, one.snr_db)
        for one in item.score.sources
    ]
    score = item.score
    if len(rows) > 1:
        rows.append(("mean", score.mixture_si_sdr_db, score.si_sdr_db, score.si_sdr_improvement_db, score.snr_db))
    body = "\n".join(
        f'<tr><th scope="row">{escape(name)}</th>'
        f"<td>{decibels(before)}</td><td>{decibels(after)}</td>"
        f"<td><strong>{decibels(gained, signed=True)}</strong></td><td>{decibels(snr)}</td></tr>"
        for name, before, after, gained, snr in rows
    )
    return f"""<table>
<caption>Scores of {escape(item.title)}, in dB; higher is better</caption>
<thead><tr><th scope="col">source</th><th scope="col">SI‑SDR before</th><th scope="col">SI‑SDR after</th>
<th scope="col">improvement</th><th scope="col">SNR</th></tr></thead>
<tbody>
{body}
</tbody>
</table>"""

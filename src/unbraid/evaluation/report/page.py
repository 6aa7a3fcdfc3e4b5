"""What all HTML pages about sounds are made of: the frame of the page, the player and its sounds, numbers.

A page is a single file that asks nothing of any server: its pictures and sounds are inside. It follows the light or
dark scheme of the reader, who hears all sounds of one example at one gain.
"""

from __future__ import annotations

import base64
import html
import io
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

import numpy as np

from unbraid.audio.encode.libsndfile import SoundfileSink
from unbraid.audio.formats import Encoding
from unbraid.audio.recording import Recording
from unbraid.pictures.player.assets import report_script, script_hash, style
from unbraid.pictures.player.views import draw_spectrogram, quantise
from unbraid.pictures.png import grey_png

_STYLE = Path(__file__).with_name("report.css")
_COLUMNS, _BINS = 800, 128
"""Of spectrograms; ours: 10 s in steps of 12 ms, which is finer than their windows."""
Role = Literal["mixture", "stem", "reference", "error"]
Codec = Literal["flac", "mp3"]
KINDS: dict[Role, str] = {"mixture": "Mixture", "stem": "Estimate", "reference": "Reference", "error": "Error"}
_MP3_RATE = 44_100
MP3_KBPS = {1: 96, 2: 160}
"""By channels; ours: compact, and artefacts of separation stay audible beside those of the codec."""


def whole_page(title: str, body: str) -> str:
    """The page around its body. Nothing may be loaded from elsewhere, and no script runs but the player's."""
    script = f"\n{report_script()}"
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta http-equiv="Content-Security-Policy"
 content="default-src 'none'; img-src data:; media-src data:; style-src 'unsafe-inline'; \
script-src {script_hash(script)}">
<title>{escape(title)}</title>
<style>
{style()}{_STYLE.read_text(encoding="utf-8")}</style>
</head>
<body class="report">
<main>
{body}
</main>
<script type="module">{script}</script>
</body>
</html>
"""


def fact_list(facts: Mapping[str, str]) -> str:
    """Names and what they are."""
    rows = "".join(f"<dt>{escape(name)}</dt><dd>{escape(text)}</dd>\n" for name, text in facts.items())
    return f"<dl>\n{rows}</dl>"


def player(title: str, figures: Sequence[str], sound: Recording, codec: Codec) -> str:
    """Sounds of one length, one above the other: the page's script makes a player of them."""
    channels = sound.num_channels if codec == "flac" else min(sound.num_channels, 2)
    return f"""<div class="sounds" data-title="{escape(title)}" data-rate="{sound.sample_rate}"
 data-channels="{channels}" data-samples="{sound.num_samples}">
{"".join(figures)}
</div>"""


def figure(role: Role, name: str, what: str, sound: Recording, gain: float, codec: Codec = "flac") -> str:
    """A picture and a sound, turned by the gain."""
    turned = Recording(sound.samples * np.float32(gain), sound.sample_rate)
    levels = draw_spectrogram(quantise(turned.samples.T), sound.sample_rate, 0, sound.num_samples, _COLUMNS, _BINS)
    # Fewer levels than the eye tells apart make the file a third smaller.
    picture = base64.b64encode(grey_png(255 - (levels & 0xFC))).decode()
    level = float(np.sqrt(np.square(sound.samples, dtype=np.float64).mean())) if sound.samples.size else 0.0
    loudness = f"{20 * math.log10(level):.1f} dB below full scale".replace("-", "") if level > 0 else "silent"
    kind = KINDS[role]
    alt = f"{kind}, drawn: {what}. {sound.seconds:.1f} s, {loudness} on average."
    data = base64.b64encode(to_flac(turned) if codec == "flac" else to_mp3(turned)).decode()
    mime = "audio/flac" if codec == "flac" else "audio/mpeg"
    return f"""<figure data-role="{role}" data-name="{escape(name)}">
<figcaption><strong>{kind}</strong> {escape(what)}</figcaption>
<img src="data:image/png;base64,{picture}" width="{_COLUMNS}" height="{_BINS}" alt="{escape(alt)}">
<audio controls preload="none" aria-label="{escape(f"Play: {kind.lower()}, {what}")}"
 src="data:{mime};base64,{data}"></audio>
</figure>
"""


def common_gain(sounds: Sequence[Recording]) -> float:
    """What keeps the loudest of them within full scale, and is 1 where that is so already."""
    peak = max(float(np.abs(sound.samples).max(initial=0.0)) for sound in sounds)
    return min(1.0, 0.999 / peak) if peak > 0 else 1.0


def decibels(value: float, signed: bool = False, digits: int = 1) -> str:
    """A number as it stands in text, with a true minus sign."""
    if math.isnan(value):
        return "undefined"
    if math.isinf(value):
        return "∞" if value > 0 else "−∞"
    return f"{value:{'+' if signed else ''}.{digits}f}".replace("-", "−")


def to_flac(recording: Recording) -> bytes:
    """A FLAC file of 16 bits in memory, which every browser plays; lossless, so that artefacts stay audible."""
    return _encode(recording, Encoding(container="flac", sample="int16"))


def to_mp3(recording: Recording) -> bytes:
    """An MP3 file in memory, which every browser plays, of the first two channels at most."""
    stereo = Recording(recording.samples[:2], recording.sample_rate)
    encoding = Encoding(container="mp3", bitrate_kbps=MP3_KBPS[stereo.num_channels])
    if stereo.sample_rate not in (16_000, 22_050, 24_000, 32_000, 44_100, 48_000):
        stereo = stereo.resampled(_MP3_RATE)
    return _encode(stereo, encoding)


def escape(text: str) -> str:
    """Text that cannot become markup."""
    return html.escape(text, quote=True)


def _encode(recording: Recording, encoding: Encoding) -> bytes:
    file = io.BytesIO()
    sink = SoundfileSink(file, recording.sample_rate, recording.num_channels, encoding)
    sink.write(recording.samples)
    sink.finish()
    return file.getvalue()

"""What is read and what is written, tried one by one: a tone of its own in every channel goes in and has to come out.

python -m benchmarks.engine.formats            writes docs/formats.md anew
"""

from __future__ import annotations

import io
import itertools
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import get_args

import av
import numpy as np
import soundfile

from unbraid.audio.formats import Container, Encoding, SampleFormat
from unbraid.audio.reading import open_audio
from unbraid.audio.writing import write_audio
from unbraid.errors import UnbraidError

PAGE = Path(__file__).parents[2] / "docs" / "formats.md"
RATE, SECONDS = 48_000, 1.0
CHANNELS = (1, 2, 6)
_SIXTEEN_BITS = {"tta": "s16", "wavpack": "s16p"}
"""Where the encoder would take 8."""
_LAYOUTS = {1: "mono", 2: "stereo", 6: "5.1"}

LIBSNDFILE = {
    "WAV": "PCM_U8 PCM_16 PCM_24 PCM_32 FLOAT DOUBLE ULAW ALAW IMA_ADPCM MS_ADPCM GSM610",
    "RF64": "PCM_16 FLOAT",
    "W64": "PCM_16 PCM_24 FLOAT",
    "AIFF": "PCM_S8 PCM_16 PCM_24 PCM_32 FLOAT",
    "CAF": "PCM_16 PCM_24 FLOAT ALAC_16 ALAC_24",
    "AU": "PCM_16 FLOAT ULAW",
    "FLAC": "PCM_16 PCM_24",
    "MP3": "MPEG_LAYER_III",
    "VOC": "PCM_16",
    "NIST": "PCM_16",
}
LIBAV = {
    "mp4": "aac alac ac3 eac3 mp3 flac",
    "mov": "pcm_s16le pcm_s24le aac",
    "matroska": "flac aac libopus ac3 pcm_s16le mp3",
    "webm": "libopus",
    "adts": "aac",
    "mpegts": "aac mp2 ac3",
    "avi": "mp3 pcm_s16le ac3",
    "flv": "aac mp3",
    "ac3": "ac3",
    "eac3": "eac3",
    "mp2": "mp2",
    "ogg": "flac libopus",
    "tta": "tta",
    "wv": "wavpack",
}
"""Containers and codecs that can be made here, to be tried."""


@dataclass(frozen=True)
class Row:
    """What became of one format."""

    name: str
    codec: str
    cells: tuple[str, ...]
    """For each number of channels, what came back."""

    def __str__(self) -> str:
        return f"| {self.name} | {self.codec} | {' | '.join(self.cells)} |"


def tones(num_channels: int) -> np.ndarray:
    """(channel, sample), so low that a channel for low frequencies keeps its tone."""
    time = np.arange(round(SECONDS * RATE)) / RATE
    return np.stack([0.5 * np.sin(2 * np.pi * (45 + 10 * place) * time) for place in range(num_channels)])


def judge(data: bytes | Path, sent: np.ndarray) -> str:
    """Whether every channel came back at its place, exactly or nearly, and how many samples came back."""
    try:
        with open_audio(data) as reader:
            came = np.concatenate(list(reader.blocks(10_000)), axis=1)
            rate = reader.info.sample_rate
    except UnbraidError as error:
        return f"refused: {error.reason}"
    if (rate, came.shape[0]) != (RATE, sent.shape[0]):
        return f"{came.shape[0]} channels at {rate} Hz"
    length = min(came.shape[1], sent.shape[1])
    if came.shape == sent.shape and np.abs(came - sent).max() < 2.0**-14:
        return "exact"
    # Codecs that do not tell how many samples they put in front come back late.
    window = np.hanning(length)
    for place in range(len(sent)):
        loudest = np.argmax(np.abs(np.fft.rfft(came[place, :length] * window, RATE)))
        if abs(loudest - (45 + 10 * place)) > 2:
            return "channels out of order"
    more = came.shape[1] - sent.shape[1]
    return "lossy" if more == 0 else f"lossy, {more:+d} samples"


def reading() -> Iterator[Row]:
    for name, subtypes in LIBSNDFILE.items():
        for subtype in subtypes.split():
            yield Row(name, subtype, tuple(_through_libsndfile(name, subtype, count) for count in CHANNELS))
    for name, codecs in LIBAV.items():
        for codec in codecs.split():
            yield Row(name, codec, tuple(_through_libav(name, codec, count) for count in CHANNELS))


def writing() -> Iterator[Row]:
    """Of every container and depth that stems can have."""
    for container, sample in itertools.product(get_args(Container), (None, *get_args(SampleFormat))):
        try:
            encoding = Encoding(container=container, sample=sample)
        except UnbraidError:
            continue
        if sample is None and container in ("wav", "flac"):
            continue
        cells = []
        for count in CHANNELS:
            with tempfile.TemporaryDirectory() as folder:
                path = Path(folder) / f"a.{container}"
                try:
                    write_audio(path, tones(count).astype(np.float32), RATE, encoding)
                except UnbraidError as error:
                    cells.append(f"refused: {error.reason.split(' and ')[0]}")
                    continue
                cells.append(judge(path, tones(count)))
        row = Row(container.upper(), "lossy" if encoding.is_lossy else str(sample), tuple(cells))
        if not (encoding.is_lossy and sample is not None):
            yield row


def page() -> str:
    counts = " | ".join("1 channel" if count == 1 else f"{count} channels" for count in CHANNELS)
    head = f"| | | {counts} |\n|---|---|---|---|---|"
    return f"""# Formats

Written by `python -m benchmarks.engine.formats`, which makes a file of every kind with a tone of its own in every
channel, at {RATE // 1000} kHz, and reads it; a test does the same. *Exact*: every sample came back. *Lossy*: every
channel at its place and of its pitch, with as many samples as went in, or so many more or fewer. A dash: the encoder
here makes no such file. Files are known by their content, whatever they are called. These tables may be copied
freely (CC0).

## Read

With libsndfile {soundfile.__libsndfile_version__} and FFmpeg's libraries as PyAV {av.__version__} brings them. Names
are theirs.

{head}
{_lines(reading())}

Ogg Vorbis is below. Besides, not made here and therefore not tried: WMA, DTS, TrueHD, AMR, Monkey's Audio, Musepack,
RealAudio. Any rate from 1 to 384 kHz. Raw samples: [`--raw`](separate.md#raw-samples).

## Written

Stems keep the rate, the channels and, as nearly as the format can, the depth of the recording.

{head}
{_lines(writing())}

Title, artist and other tags are those of the recording, and so is the cover, from whatever format it comes.

A video with a stem as its sound is MP4, MOV or Matroska with AAC, ALAC, FLAC or the stem as it is, and a file of
four stems MP4 with AAC:
[Video](separate.md#video-and-stems-in-one-file).
"""


def _lines(rows: Iterator[Row]) -> str:
    return "\n".join(str(row) for row in rows)


def _through_libsndfile(name: str, subtype: str, num_channels: int) -> str:
    file = io.BytesIO()
    samples = tones(num_channels)
    try:
        soundfile.write(file, samples.T, RATE, format=name, subtype=subtype)
    except (soundfile.SoundFileError, ValueError, TypeError):
        return "–"
    return judge(file.getvalue(), samples)


def _through_libav(name: str, codec: str, num_channels: int) -> str:
    file, samples = io.BytesIO(), tones(num_channels)
    try:
        with av.open(file, "w", format=name) as out:
            stream = out.add_stream(codec, rate=RATE, layout=_LAYOUTS[num_channels])
            stream.time_base = Fraction(1, RATE)
            if codec in _SIXTEEN_BITS:
                stream.format = _SIXTEEN_BITS[codec]
            block = np.ascontiguousarray(samples, np.float32)
            frame = av.AudioFrame.from_ndarray(block, "fltp", _LAYOUTS[num_channels])
            frame.sample_rate, frame.pts, frame.time_base = RATE, 0, Fraction(1, RATE)
            out.mux(stream.encode(frame))
            out.mux(stream.encode(None))
    except (av.error.FFmpegError, ValueError):
        return "–"
    return judge(file.getvalue(), samples)


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")

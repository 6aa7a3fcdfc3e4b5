"""Recordings in every container."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import av
import numpy as np
import soundfile

from tests.fuzz.target import Builders, Target
from unbraid.audio.reading import open_audio
from unbraid.errors import UnbraidError

_TONE = (np.sin(np.arange(4_000) / 9) * np.linspace(0, 0.5, 4_000)).astype(np.float32)
_SOUNDFILE = ("wav", "w64", "aiff", "au", "caf", "flac", "ogg", "mp3")
_LIBAV = {"mkv": "pcm_s16le", "mp4": "aac", "ts": "aac", "aac": "aac", "avi": "pcm_s16le"}


def _by_soundfile(name: str, folder: Path) -> Target:
    buffer = io.BytesIO()
    soundfile.write(buffer, _TONE, 16_000, format=name.upper())
    return Target((buffer.getvalue(),), read_audio)


def _by_libav(name: str, folder: Path) -> Target:
    return Target((_encoded(folder / f"seed.{name}", _LIBAV[name]),), read_audio)


def read_audio(data: bytes) -> None:
    """Strictly, and what there is."""
    refused: list[UnbraidError] = []
    for allow_truncated in (False, True):
        try:
            with open_audio(data, allow_truncated=allow_truncated, replace_nonfinite=True) as reader:
                for count, _ in enumerate(reader.blocks(65_536)):
                    if count > 100:  # a header may promise hours of silence
                        break
        except UnbraidError as error:
            refused.append(error)
    if len(refused) == 2:
        raise refused[1]


def _encoded(path: Path, codec: str) -> bytes:
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=16_000)
        stream.layout = "mono"
        size = stream.codec_context.frame_size or 1024
        integer = codec == "pcm_s16le"
        samples = (_TONE * 32_767).astype(np.int16) if integer else _TONE
        for number, block in enumerate(_blocks(samples, size)):
            frame = av.AudioFrame.from_ndarray(block[None], format="s16" if integer else "fltp", layout="mono")
            frame.sample_rate, frame.pts = 16_000, number * size
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path.read_bytes()


def _blocks(samples: np.ndarray, size: int) -> Iterator[np.ndarray]:
    for start in range(0, len(samples) - size + 1, size):
        yield samples[start : start + size]


def _builders(make: Callable[[str, Path], Target], names: tuple[str, ...]) -> Builders:
    return {name: partial(make, name) for name in names}


BUILDERS: Builders = _builders(_by_soundfile, _SOUNDFILE) | _builders(_by_libav, tuple(_LIBAV))

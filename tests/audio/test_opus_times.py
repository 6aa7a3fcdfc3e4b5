"""Opus files whose pages carry time stamps that jump a little, as FFmpeg writes them: nothing is missing in them."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
import soundfile

from unbraid.audio.ranges import read_range
from unbraid.audio.reading import open_audio

RATE = 48_000
SECONDS = 8


def _checksum(page: bytes) -> int:
    """CRC-32 of Ogg: polynomial 0x04C11DB7, not reflected, no start and end values."""
    value = 0
    for byte in page:
        value ^= byte << 24
        for _ in range(8):
            value = ((value << 1) ^ 0x04C11DB7 if value & 0x80000000 else value << 1) & 0xFFFFFFFF
    return value


def _pages(data: bytes) -> list[bytes]:
    pages, start = [], 0
    while start < len(data):
        segments = data[start + 26]
        size = 27 + segments + sum(data[start + 27 : start + 27 + segments])
        pages.append(data[start : start + size])
        start += size
    return pages


def _later(page: bytes, samples: int) -> bytes:
    time = struct.unpack("<q", page[6:14])[0] + samples
    page = page[:6] + struct.pack("<q", time) + page[14:22] + bytes(4) + page[26:]
    return page[:22] + struct.pack("<I", _checksum(page)) + page[26:]


@pytest.fixture
def opus(tmp_path: Path) -> tuple[Path, np.ndarray]:
    """A file as libsndfile writes it, and what it holds."""
    path = tmp_path / "talk.opus"
    noise = np.random.default_rng(0).standard_normal(SECONDS * RATE).astype(np.float32) * 0.1
    soundfile.write(path, noise, RATE, format="OGG", subtype="OPUS")
    return path, soundfile.read(path, dtype="float32", always_2d=True)[0].T


def _read(path: Path) -> np.ndarray:
    with open_audio(path) as reader:
        return np.concatenate(list(reader.blocks(10_000)), axis=1)


def test_a_jump_to_and_fro_costs_nothing(opus: tuple[Path, np.ndarray]) -> None:
    path, right = opus
    pages = _pages(path.read_bytes())
    assert len(pages) > 6
    path.write_bytes(b"".join([*pages[:4], _later(pages[4], 488), *pages[5:]]))
    np.testing.assert_allclose(_read(path), right, atol=1e-3)
    for start in range(0, (SECONDS - 1) * RATE, RATE // 2):
        stretch = read_range(path, start, 4_000)
        assert stretch.shape == (1, 4_000)
        np.testing.assert_allclose(np.std(stretch), np.std(right[:, start : start + 4_000]), rtol=0.1)


def test_an_end_that_is_stamped_too_late_is_no_truncation(opus: tuple[Path, np.ndarray]) -> None:
    path, right = opus
    pages = _pages(path.read_bytes())
    path.write_bytes(b"".join([*pages[:-1], _later(pages[-1], 2_000)]))
    read = _read(path)
    assert read.shape[1] >= right.shape[1]
    np.testing.assert_allclose(read[:, : right.shape[1]], right, atol=1e-3)

"""Every format and every kind of source gives the same samples, in blocks of any size."""

from __future__ import annotations

import io
import os
import sys
import tracemalloc

import numpy as np
import pytest
import soundfile

from unbraid.audio.reading import open_audio
from unbraid.errors import AudioReadError, ConfigError


def read(source, block_samples=10_000, **settings) -> np.ndarray:
    with open_audio(source, **settings) as reader:
        return np.concatenate(list(reader.blocks(block_samples)), axis=1)


@pytest.mark.parametrize(
    ("name", "container", "subtype", "depth"),
    [
        ("a.wav", "WAV", "PCM_U8", "int16"),
        ("a.wav", "WAV", "PCM_16", "int16"),
        ("a.wav", "WAV", "PCM_24", "int24"),
        ("a.wav", "WAV", "PCM_32", "int32"),
        ("a.wav", "WAV", "FLOAT", "float32"),
        ("a.wav", "WAV", "DOUBLE", "float32"),
        ("a.wav", "WAVEX", "PCM_16", "int16"),
        ("a.wav", "WAV", "ULAW", "int16"),
        ("a.rf64", "RF64", "PCM_24", "int24"),
        ("a.w64", "W64", "PCM_16", "int16"),
        ("a.aiff", "AIFF", "PCM_24", "int24"),
        ("a.caf", "CAF", "ALAC_16", "int16"),
        ("a.au", "AU", "PCM_16", "int16"),
        ("a.flac", "FLAC", "PCM_24", "int24"),
        ("a.ogg", "OGG", "VORBIS", "int24"),
        ("a.opus", "OGG", "OPUS", "int24"),
    ],
)
def test_what_soundfile_knows_is_read_as_soundfile_reads_it(tmp_path, tone, name, container, subtype, depth):
    path = tmp_path / name
    soundfile.write(path, tone.T, 48_000, subtype, format=container)
    expected, _ = soundfile.read(path, dtype="float32")
    np.testing.assert_array_equal(read(path), expected.T)
    with open_audio(path) as reader:
        assert reader.info.sample_rate == 48_000
        assert reader.info.num_channels == 2
        assert reader.info.num_samples == (None if subtype == "OPUS" else 48_000)
        assert reader.info.expected_samples == 48_000
        assert reader.info.encoding.sample == depth


@pytest.mark.parametrize(
    ("name", "codec", "sample_format", "depth", "options", "tolerance"),
    [
        ("a.m4a", "aac", "fltp", "int24", {}, 0.02),
        ("front.m4a", "aac", "fltp", "int24", {"movflags": "faststart"}, 0.02),
        ("alac.m4a", "alac", "s16p", "int24", {}, 1e-4),
        ("a.mov", "pcm_s24le", "s32", "int24", {}, 1e-6),
        ("a.mka", "flac", "s16", "int16", {}, 1e-4),
        ("a.avi", "pcm_f32le", "flt", "float32", {}, 0),
        ("a.webm", "libopus", "flt", "int24", {}, 0.03),
        ("a.mp3", "libmp3lame", "fltp", "int24", {}, 0.03),
        ("noxing.mp3", "libmp3lame", "fltp", "int24", {"write_xing": "0"}, None),
        ("a.ac3", "ac3", "fltp", "int24", {}, None),
        ("a.aac", "aac", "fltp", "int24", {}, None),
    ],
)
def test_what_libav_knows_is_read_without_delay(
    tmp_path, tone, encode_with_libav, name, codec, sample_format, depth, options, tolerance
):
    path = encode_with_libav(tmp_path / name, codec, tone, sample_format=sample_format, options=options)
    samples = read(path)
    with open_audio(path) as reader:
        assert reader.info.num_channels == 2
        assert reader.info.sample_rate == 48_000
        assert reader.info.encoding.sample == depth
        assert reader.info.expected_samples == pytest.approx(48_000, rel=0.06)
    assert abs(samples.shape[1] - 48_000) < 4_000
    if tolerance is not None:  # the others carry no mark of their priming samples
        middle = slice(5_000, 40_000)
        np.testing.assert_allclose(samples[:, middle], tone[:, middle], atol=tolerance)


def test_the_sound_of_a_video_is_read(tmp_path, tone, encode_with_libav):
    path = encode_with_libav(tmp_path / "film.mp4", "aac", tone, video=True)
    samples = read(path)
    np.testing.assert_allclose(samples[:, 5_000:40_000], tone[:, 5_000:40_000], atol=0.02)


def test_alac_depth_comes_from_its_own_header(tmp_path, tone):
    path = tmp_path / "a.caf"
    soundfile.write(path, tone.T, 48_000, "ALAC_24")
    with open_audio(path) as reader:
        assert reader.info.encoding.sample == "int24"


@pytest.mark.parametrize("name", ["a.wav", "a.flac", "a.ogg", "a.m4a"])
def test_blocks_of_any_size_hold_the_same_samples(tmp_path, tone, encode_with_libav, name):
    path = tmp_path / name
    if name == "a.m4a":
        encode_with_libav(path, "aac", tone)
    else:
        soundfile.write(path, tone.T, 48_000)
    whole = read(path, 10**6)
    for size in (977, 4_096, 70_001):
        with open_audio(path) as reader:
            blocks = list(reader.blocks(size))
        assert all(block.shape[1] == size for block in blocks[:-1])
        assert all(block.dtype == np.float32 and block.flags.c_contiguous for block in blocks)
        np.testing.assert_array_equal(np.concatenate(blocks, axis=1), whole)


class Pipe(io.RawIOBase):
    """Bytes that cannot be seeked."""

    def __init__(self, data: bytes) -> None:
        super().__init__()
        self._data = io.BytesIO(data)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer) -> int:
        return self._data.readinto(buffer)


@pytest.mark.parametrize("container", ["WAV", "FLAC", "MP3"])
def test_all_kinds_of_source_agree(tmp_path, tone, monkeypatch, container):
    path = tmp_path / "a"
    soundfile.write(path, tone.T, 48_000, format=container)
    data = path.read_bytes()
    expected = read(path)
    with open(path, "rb") as file:
        np.testing.assert_array_equal(read(file), expected)
        assert not file.closed
    for source in (data, io.BytesIO(data), Pipe(data), str(path)):
        np.testing.assert_array_equal(read(source), expected)
    later = io.BytesIO(b"something else" + data)
    later.seek(14)
    np.testing.assert_array_equal(read(later), expected)
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BufferedReader(Pipe(data))))
    with open_audio("-") as reader:
        assert reader.info.name == "standard input"
        np.testing.assert_array_equal(np.concatenate(list(reader.blocks(999)), axis=1), expected)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="the system has no named pipes")
def test_a_named_pipe_is_read_to_its_end(tmp_path, tone):
    import threading

    data = io.BytesIO()
    soundfile.write(data, tone.T, 48_000, format="WAV")
    path = tmp_path / "pipe"
    os.mkfifo(path)
    writer = threading.Thread(target=lambda: path.write_bytes(data.getvalue()))
    writer.start()
    assert read(path).shape == (2, 48_000)
    writer.join()


@pytest.mark.parametrize("kind", ["path", "bytes", "file", "pipe"])
def test_a_second_reader_is_independent_of_the_first(tmp_path, tone, kind):
    path = tmp_path / "a.flac"
    soundfile.write(path, tone.T, 48_000)
    data = path.read_bytes()
    source = {"path": path, "bytes": data, "file": io.BytesIO(data), "pipe": Pipe(data)}[kind]
    expected = read(path)
    with open_audio(source) as first:
        blocks = first.blocks(20_000)
        start = next(blocks)
        with first.reopen() as second:
            np.testing.assert_array_equal(np.concatenate(list(second.blocks(7_000)), axis=1), expected)
        np.testing.assert_array_equal(np.concatenate([start, *blocks], axis=1), expected)


@pytest.mark.parametrize("name", ["João canção.wav", "with  spaces '\".flac", "日本語.m4a", "data:x.mp3"])
def test_names_may_hold_anything(tmp_path, tone, encode_with_libav, name):
    path = tmp_path / name
    if name.endswith(("m4a", "mp3")):
        plain = encode_with_libav(
            tmp_path / f"plain{path.suffix}", "aac" if name.endswith("m4a") else "libmp3lame", tone
        )
        plain.rename(path)
    else:
        soundfile.write(path, tone.T, 48_000)
    assert read(path).shape[0] == 2


@pytest.mark.skipif(sys.platform != "linux", reason="other systems take only Unicode names")
def test_a_name_that_is_not_unicode_is_read(tmp_path, tone):
    path = os.fsdecode(os.fsencode(tmp_path) + b"/\xff.wav")
    data = io.BytesIO()
    soundfile.write(data, tone.T, 48_000, format="WAV")
    with open(path, "wb") as file:
        file.write(data.getvalue())
    assert read(path).shape == (2, 48_000)
    with open_audio(path) as reader:
        reader.info.name.encode("utf-8")


def test_lengths_that_a_streaming_program_left_open_are_not_truncations(tmp_path, tone):
    data = io.BytesIO()
    soundfile.write(data, tone.T, 48_000, "PCM_16", format="WAV")
    for size in (0, 0xFFFFFFFF, 0x7FFFF000, 0x80000000):
        header = bytearray(data.getvalue())
        at = header.find(b"data") + 4
        header[4:8] = header[at : at + 4] = size.to_bytes(4, "little")
        assert read(bytes(header)).shape == (2, 48_000)


def test_a_flac_of_unknown_length_is_read_to_its_end(tone):
    data = io.BytesIO()
    soundfile.write(data, tone.T, 48_000, format="FLAC")
    header = bytearray(data.getvalue())
    header[21] &= 0xF0
    header[22:26] = bytes(4)
    with open_audio(bytes(header)) as reader:
        assert reader.info.num_samples is None
        assert sum(block.shape[1] for block in reader.blocks(5_000)) == 48_000


def test_tags_are_found(tmp_path, tone):
    for name in ("a.flac", "a.ogg", "a.mp3"):
        with soundfile.SoundFile(tmp_path / name, "w", 48_000, 2) as file:
            file.title, file.artist, file.album = "Ária", "João", "Álbum"
            file.write(tone.T)
        with open_audio(tmp_path / name) as reader:
            tags = reader.info.tags
            assert (tags["title"], tags["artist"], tags["album"]) == ("Ária", "João", "Álbum")
            assert "software" not in tags


def test_memory_does_not_grow_with_the_length(tmp_path):
    path = tmp_path / "long.wav"
    with soundfile.SoundFile(path, "w", 48_000, 2, "PCM_16") as file:
        for _ in range(60):
            file.write(np.zeros((48_000, 2), np.float32))
    tracemalloc.start()
    with open_audio(path) as reader:
        count = sum(block.shape[1] for block in reader.blocks(48_000))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert count == 60 * 48_000
    assert peak < 4e6  # all samples would take 23 MB


def test_misuse_is_explained(tmp_path):
    class OpenAsText(io.BytesIO):
        def read(self, *_):
            return "text"

    with pytest.raises(ConfigError, match="binary mode"):
        open_audio(OpenAsText())
    soundfile.write(tmp_path / "a.wav", np.zeros((10, 1)), 8_000)
    with open_audio(tmp_path / "a.wav") as reader, pytest.raises(ConfigError, match="at least 1"):
        next(reader.blocks(0))


def test_a_terminal_is_not_waited_for(monkeypatch):
    class Terminal(io.BytesIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(Terminal()))
    with pytest.raises(AudioReadError, match="is a terminal"):
        open_audio("-")

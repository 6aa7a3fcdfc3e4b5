"""Stems share one gain and appear together."""

from __future__ import annotations

import os

import numpy as np
import pytest

from unbraid.audio.formats import Encoding
from unbraid.audio.recording import Recording
from unbraid.errors import AudioWriteError, ConfigError
from unbraid.output.stem_files import StemWriters


@pytest.fixture
def stems(noise) -> np.ndarray:
    """(source, channel, sample); the first exceeds full scale."""
    return np.stack([4 * noise, 0.5 * noise, np.zeros_like(noise)])


NAMES = ("vocals", "drums", "other")


def write(folder, stems, encoding, clip_mode="rescale", **settings) -> tuple[StemWriters, list[np.ndarray]]:
    paths = {name: folder / f"{name}.{encoding.extension}" for name in NAMES}
    with StemWriters(paths, 44_100, 2, encoding, **settings) as writers:
        for start in range(0, stems.shape[2], 10_007):
            writers.write(stems[..., start : start + 10_007])
        writers.commit(clip_mode)
    assert sorted(path.name for path in folder.iterdir()) == sorted(path.name for path in paths.values())
    return writers, [Recording.read(path).samples for path in paths.values()]


@pytest.mark.parametrize("encoding", [Encoding(sample="int16"), Encoding(sample="int24"), Encoding(container="flac")])
def test_one_gain_for_all_so_that_they_still_add_up(tmp_path, stems, encoding):
    writers, read = write(tmp_path, stems, encoding)
    assert writers.gain == pytest.approx(1 / np.abs(stems).max(), rel=1e-4)
    np.testing.assert_allclose(np.stack(read), stems * writers.gain, atol=2.0 ** (1 - encoding.bits))
    assert writers.peaks["vocals"] == pytest.approx(np.abs(stems[0]).max())


@pytest.mark.parametrize("encoding", [Encoding(sample="int16"), Encoding(container="flac")])
def test_stems_that_wait_on_the_disk_are_the_same_bytes_as_those_that_wait_in_memory(
    tmp_path, stems, encoding, monkeypatch
):
    (tmp_path / "memory").mkdir()
    (tmp_path / "disk").mkdir()
    write(tmp_path / "memory", stems, encoding)
    monkeypatch.setattr("unbraid.output.stem_files._MEMORY_BYTES", 3 * 200_000)
    write(tmp_path / "disk", stems, encoding)
    for path in (tmp_path / "memory").iterdir():
        assert path.read_bytes() == (tmp_path / "disk" / path.name).read_bytes()


def test_no_gain_where_none_is_needed(tmp_path, stems):
    writers, read = write(tmp_path, stems / 4, Encoding(sample="int16"))
    assert writers.gain == 1.0
    np.testing.assert_allclose(np.stack(read), stems / 4, atol=2.0**-16)


@pytest.mark.parametrize("clip_mode", ["clamp", "none"])
def test_clamping_touches_only_what_exceeds(tmp_path, stems, clip_mode):
    writers, read = write(tmp_path, stems, Encoding(sample="int24"), clip_mode)
    assert writers.gain == 1.0
    np.testing.assert_allclose(np.stack(read), stems.clip(-1, 1), atol=2.0**-22)


@pytest.mark.parametrize("clip_mode", ["rescale", "clamp", "none"])
def test_floats_keep_every_value(tmp_path, stems, clip_mode):
    writers, read = write(tmp_path, stems, Encoding(), clip_mode)
    assert writers.gain == 1.0
    np.testing.assert_array_equal(np.stack(read), stems)


@pytest.mark.parametrize("container", ["mp3", "ogg"])
def test_lossy_stems_are_turned_down_too(tmp_path, stems, container):
    writers, read = write(tmp_path, stems, Encoding(container=container), tags={"title": "Ária"})
    assert writers.gain == pytest.approx(0.989 / np.abs(stems).max(), rel=1e-4)
    assert read[0].shape[1] == stems.shape[2]


@pytest.mark.parametrize("encoding", [Encoding(), Encoding(sample="int16"), Encoding(container="flac")])
@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_an_interruption_leaves_nothing(tmp_path, stems, encoding, error):
    def interrupted():
        with StemWriters({name: tmp_path / name for name in NAMES}, 44_100, 2, encoding) as writers:
            writers.write(stems)
            raise error

    with pytest.raises(error):
        interrupted()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("encoding", [Encoding(), Encoding(sample="int16")])
@pytest.mark.parametrize("links", [True, False])
@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_all_or_none_even_if_the_last_rename_fails(tmp_path, stems, encoding, links, error, monkeypatch):
    (tmp_path / "vocals").write_bytes(b"old vocals")
    (tmp_path / "other").write_bytes(b"old other")
    replace = os.replace

    def failing(source, target):
        if os.path.basename(target) == "other" and "old" not in os.path.basename(source):
            raise error
        replace(source, target)

    def refuse(*_):
        raise OSError(1, "Operation not permitted")

    monkeypatch.setattr(os, "replace", failing)
    if not links:
        monkeypatch.setattr(os, "link", refuse)

    def fail():
        with StemWriters({name: tmp_path / name for name in NAMES}, 44_100, 2, encoding) as writers:
            writers.write(stems)
            writers.commit()

    with pytest.raises(KeyboardInterrupt if isinstance(error, KeyboardInterrupt) else AudioWriteError):
        fail()
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {
        "vocals": b"old vocals",
        "other": b"old other",
    }


def test_old_stems_are_replaced_on_commit_only(tmp_path, stems):
    for name in NAMES:
        (tmp_path / f"{name}.wav").write_bytes(b"old")
    write(tmp_path, stems, Encoding())


def test_misuse_is_explained(tmp_path, stems):
    with pytest.raises(ConfigError, match="no stems"):
        StemWriters({}, 44_100, 2, Encoding())
    with pytest.raises(ConfigError, match="same file name"):
        StemWriters({"a": tmp_path / "x.wav", "b": tmp_path / "x.wav"}, 44_100, 2, Encoding())
    with StemWriters({"a": tmp_path / "x.wav"}, 44_100, 2, Encoding()) as writers:
        with pytest.raises(ConfigError, match="expected 1"):
            writers.write(stems)
        with pytest.raises(ConfigError, match="a block of shape"):
            writers.write(stems[:1, :1])
    assert list(tmp_path.iterdir()) == []


def test_where_one_place_is_bad_nothing_is_begun(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(AudioWriteError, match="not a folder"):
        StemWriters({"a": tmp_path / "a.wav", "b": tmp_path / "file" / "b.wav"}, 44_100, 2, Encoding())
    assert list(tmp_path.iterdir()) == [tmp_path / "file"]

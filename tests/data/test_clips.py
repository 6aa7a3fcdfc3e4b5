"""Clips: any stretch at any rate is the same as a cut from the whole."""

import multiprocessing
import os
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
import soxr
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.conftest import PATIENCE_SECONDS
from tests.data.builders import noise, sweep, write, write_mp4
from unbraid.data.clips import (
    UnreadableFilesError,
    open_clip,
    open_clips,
    read_clip,
    read_source,
    refuse_truncated,
    to_channels,
)
from unbraid.data.items import Clip
from unbraid.errors import DataError

RATE = 8000


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("clips")
    for extension in ("wav", "flac", "ogg"):
        write(folder / f"stereo.{extension}", noise(1, seconds=3, channels=2), RATE)
    write(folder / "music.wav", noise(2, seconds=3, rate=44100), 44100, subtype="FLOAT")
    write_mp4(folder / "song.stem.mp4", [sweep(n) for n in range(5)])
    write(folder / "mono.mp3", noise(5, seconds=3), RATE)
    return folder


@pytest.mark.parametrize("extension", ["wav", "flac", "ogg"])
@given(start=st.integers(0, 30_000), num_samples=st.integers(0, 30_000))
@settings(max_examples=25, deadline=None)
def test_a_stretch_is_a_cut_from_the_whole(folder, extension, start, num_samples):
    path = folder / f"stereo.{extension}"
    whole = np.zeros((2, 70_000), np.float32)
    whole[:, :24_000] = soundfile.read(path, dtype="float32")[0].T
    samples = read_clip(open_clip(path), start, num_samples, RATE)
    assert samples.dtype == np.float32
    assert np.array_equal(samples, whole[:, start : start + num_samples])


@given(
    start=st.integers(0, 50_000),
    num_samples=st.integers(1, 20_000),
    rate=st.sampled_from([8000, 16000, 22050, 48000, 96000, 44099]),
)
@settings(max_examples=40, deadline=None)
def test_a_resampled_stretch_is_a_cut_from_the_resampled_whole(folder, start, num_samples, rate):
    clip = open_clip(folder / "music.wav")
    samples, _ = soundfile.read(folder / "music.wav", dtype="float32")
    whole = soxr.resample(samples, 44100, rate, quality="HQ")[: -(-len(samples) * rate // 44100)]
    wanted = np.zeros(num_samples, np.float32)
    piece = whole[start : start + num_samples]
    wanted[: len(piece)] = piece
    got = read_clip(clip, start, num_samples, rate)
    assert got.shape == (1, num_samples)
    assert np.abs(got[0] - wanted).max() < 1e-5


def test_streams_of_a_container_are_read_from_the_middle(folder):
    path = folder / "song.stem.mp4"
    originals = [sweep(n).T for n in range(5)]
    for stream, original in enumerate(originals):
        clip = open_clip(path, stream)
        assert (clip.sample_rate, clip.num_channels) == (44100, 2)
        assert clip.seconds == pytest.approx(4, abs=0.06)
        whole = read_clip(clip, 0, clip.num_samples, 44100)
        # The codec loses something, and it must not shift anything.
        error = whole[:, : original.shape[1]] - original
        assert np.sum(error**2) < 0.001 * np.sum(original**2)
        for start in (100_000, 1, 1023, 44_100, 0, 170_000):
            assert np.allclose(read_clip(clip, start, 5000, 44100), whole[:, start : start + 5000], atol=1e-4)


def test_formats_without_exact_seeking_are_read_all_the_same(folder):
    clip = open_clip(folder / "mono.mp3")
    whole = read_clip(clip, 0, 24_000, RATE)
    assert np.array_equal(read_clip(clip, 12_345, 1000, RATE), whole[:, 12_345:13_345])
    error = whole[0] - noise(5, seconds=3)[:, 0]
    assert np.sum(error**2) < 0.3 * np.sum(noise(5, seconds=3) ** 2)


def test_a_clip_may_begin_and_end_inside_its_file(folder):
    whole = open_clip(folder / "stereo.wav")
    clip = replace(whole, start=1000, num_samples=500)
    expected = read_clip(whole, 1000, 500, RATE)
    assert np.array_equal(read_clip(clip, 0, 500, RATE), expected)
    beyond = read_clip(clip, 400, 300, RATE)
    assert np.array_equal(beyond[:, :100], expected[:, 400:])
    assert not beyond[:, 100:].any()


def test_sources_are_sums_of_clips_with_mono_in_every_channel(folder):
    stereo, mono = open_clip(folder / "stereo.wav"), open_clip(folder / "music.wav")
    total = read_source([stereo, mono], 100, 2000, RATE)
    assert np.allclose(total, read_clip(stereo, 100, 2000, RATE) + read_clip(mono, 100, 2000, RATE))
    assert read_source([mono], 0, 10, RATE, num_channels=2).shape == (2, 10)
    assert not read_source([], 0, 10, RATE, num_channels=2).any()
    with pytest.raises(DataError, match="channels"):
        to_channels(np.zeros((3, 4), np.float32), 2)


def _read_in_child(clip, queue):
    queue.put(read_clip(clip, 50_000, 2000, 44100))


def test_a_forked_worker_does_not_share_what_its_parent_has_open(folder):
    clip = open_clip(folder / "song.stem.mp4", 1)
    expected = read_clip(clip, 50_000, 2000, 44100)
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    workers = [context.Process(target=_read_in_child, args=(clip, queue)) for _ in range(3)]
    for worker in workers:
        worker.start()
    for start in range(0, 100_000, 10_000):
        read_clip(clip, start, 2000, 44100)
    for _ in workers:
        assert np.allclose(queue.get(timeout=PATIENCE_SECONDS), expected, atol=1e-4)
    for worker in workers:
        worker.join(timeout=PATIENCE_SECONDS)


def test_many_headers_are_read_in_order(folder):
    paths = [folder / "stereo.wav", folder / "music.wav"] * 50
    assert [clip.path for clip in open_clips(paths)] == paths


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("missing.wav", None, "does not exist"),
        ("empty.flac", b"", "0 bytes"),
        ("text.wav", b"this is not audio" * 20, "cannot be read"),
        ("speech.wv1", b"NIST_1A\n   1024\n" + b"\0" * 2000, "sph2pipe"),
    ],
)
def test_bad_files_are_named(tmp_path, name, content, sentence):
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(DataError, match=sentence) as caught:
        open_clip(path)
    assert name in str(caught.value)
    with pytest.raises(DataError, match=name):
        read_clip(Clip(Path(path), 1000, 8000, 1), 0, 100, 8000)


def test_a_file_that_is_truncated_is_named(tmp_path):
    whole, cut = tmp_path / "whole.wav", tmp_path / "cut.wav"
    for path in (whole, cut):
        soundfile.write(path, np.zeros(8_000), 8_000)
    cut.write_bytes(cut.read_bytes()[:9_000])
    refuse_truncated([open_clip(whole)])
    with pytest.raises(UnreadableFilesError, match=r"cut\.wav' is truncated \(its header promises 1\.0 s") as caught:
        refuse_truncated([open_clip(path) for path in (whole, cut)])
    assert list(caught.value.files) == [str(cut)]


@pytest.mark.parametrize("value", [np.nan, np.inf, -1e19])
def test_a_sample_that_is_no_number_names_the_file(tmp_path, value):
    path = tmp_path / "talk.wav"
    samples = np.zeros(8_000, np.float32)
    samples[4_000] = value
    soundfile.write(path, samples, 8_000, "FLOAT")
    clip = open_clip(path)
    assert read_clip(clip, 0, 4_000, 8_000).shape == (1, 4_000)
    with pytest.raises(DataError, match=r"talk\.wav' holds samples that are not numbers"):
        read_clip(clip, 0, 8_000, 8_000)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_a_pipe_in_a_data_set_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "vocals.wav")
    with pytest.raises(DataError, match=r"vocals\.wav' does not exist"):
        open_clip(tmp_path / "vocals.wav")


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere names are Unicode")
@pytest.mark.parametrize("extension", ["wav", "mp3"])
def test_names_need_not_be_utf8(folder, tmp_path, extension):
    path = tmp_path / os.fsdecode(b"sch\xf6n." + extension.encode())
    path.write_bytes((folder / {"wav": "stereo.wav", "mp3": "mono.mp3"}[extension]).read_bytes())
    clip = open_clip(path)
    assert read_clip(clip, 100, 50, RATE).any()
    path.write_bytes(b"no audio")
    with pytest.raises(DataError) as caught:
        open_clip(path)
    assert "sch\\udcf6n" in str(caught.value)

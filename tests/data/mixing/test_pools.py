"""Pools: pieces from recordings, kept in memory or read by range, weighted, and not silent if it can be helped."""

from dataclasses import replace

import numpy as np
import pytest

from tests.data.made import RATE, tone, write_clip
from unbraid.data.mixing.pools import Pool, SourceRecording, fit_memory, is_silent, place, weigh
from unbraid.errors import DataError


@pytest.fixture
def recordings(tmp_path):
    return [
        SourceRecording((write_clip(tmp_path / f"{number}.wav", tone(200 + 100 * number, seconds)),))
        for number, seconds in enumerate((0.5, 2.0, 4.0))
    ]


@pytest.mark.parametrize("rate", [RATE, 11_025])
def test_what_is_kept_is_what_is_read(recordings, rate):
    kept, read = Pool(recordings, keep=True), Pool(recordings)
    for seed in range(30):
        pieces = [pool.draw(rate, rate, 1, np.random.default_rng(seed)) for pool in (kept, read, kept)]
        assert pieces[0].shape[1] in (rate, rate // 2)
        np.testing.assert_allclose(pieces[0], pieces[1], atol=1e-6)
        assert np.array_equal(pieces[0], pieces[2])


def test_long_recordings_are_drawn_more_often_if_asked(recordings):
    generator = np.random.default_rng(0)

    def counts(pool):
        hz = [np.abs(np.fft.rfft(pool.draw(800, RATE, 1, generator)[0])).argmax() for _ in range(300)]
        return [hz.count(peak) for peak in (20, 30, 40)]

    np.testing.assert_allclose(counts(Pool(recordings)), 100, atol=30)
    np.testing.assert_allclose(counts(Pool(recordings, "seconds")), [300 * s / 6.5 for s in (0.5, 2, 4)], atol=35)


def test_collections_are_as_likely_as_each_other(recordings):
    few, many = [replace(recordings[1], collection="few")], [replace(one, collection="many") for one in recordings]
    assert weigh(few + many, "collections") == pytest.approx([1.0, 0.5 / 6.5, 2 / 6.5, 4 / 6.5])


def test_silence_is_drawn_only_if_there_is_nothing_else(tmp_path):
    half = np.concatenate([np.zeros((1, RATE), np.float32), tone(200, 1.0, 1)], axis=1)
    pool = Pool([SourceRecording((write_clip(tmp_path / "half.wav", half),))])
    generator = np.random.default_rng(0)
    assert sum(is_silent(pool.draw(400, RATE, 1, generator)) for _ in range(100)) <= 3
    silent = Pool([SourceRecording((write_clip(tmp_path / "none.wav", np.zeros((1, RATE), np.float32)),))])
    assert not silent.draw(400, RATE, 1, generator).any()


def test_silence_that_is_kept_is_as_likely_as_it_is_long(tmp_path):
    half = np.concatenate([np.zeros((1, RATE), np.float32), tone(200, 1.0, 1)], axis=1)
    pool = Pool([SourceRecording((write_clip(tmp_path / "half.wav", half),))], silence="kept")
    generator = np.random.default_rng(0)
    silent = sum(is_silent(pool.draw(400, RATE, 1, generator)) for _ in range(200))
    assert 75 < silent < 125


def test_only_small_sets_are_kept(recordings):
    assert fit_memory(recordings, 44_100, 2)
    assert not fit_memory(recordings * 500, 44_100, 2)


def test_a_piece_is_placed_whole_and_a_long_one_cut():
    piece = np.arange(1, 6, dtype=np.float32)[None]
    generator = np.random.default_rng(0)
    starts = set()
    for _ in range(50):
        placed = place(piece, 8, generator)[0]
        start = int(np.flatnonzero(placed)[0])
        assert placed.tolist() == [0] * start + [1, 2, 3, 4, 5] + [0] * (3 - start)
        starts.add(start)
    assert starts == {0, 1, 2, 3}
    assert {tuple(place(piece, 4, generator)[0]) for _ in range(30)} == {(1, 2, 3, 4), (2, 3, 4, 5)}
    assert place(piece, 5, generator) is piece


def test_an_empty_pool_is_refused():
    with pytest.raises(DataError):
        Pool([])

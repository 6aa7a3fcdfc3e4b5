"""Streams: no example twice and none left out, whatever the workers and ranks; whole mixtures for validation."""

import numpy as np
import pytest
import torch

from tests.data.made import RATE, dataset, songs, spec, tone, utterances, write_clip
from unbraid.data.items import Item
from unbraid.data.lists.speaker_pairs import ListedMixture
from unbraid.data.loaders import DrawnExamples, ExampleStream, GivenExamples, ListedExamples, build_loader
from unbraid.data.mixing.drawing import GivenMixtures, SpeakerMixing, StemMixing, build_drawer, draw_example
from unbraid.errors import ConfigError, DataError

THREE = spec(("drums", "bass", "vocals"))
TWO = spec(("speaker1", "speaker2"), channels=1, exchangeable=True)
MIXING = StemMixing(segment_seconds=0.2)


@pytest.fixture(scope="module")
def album(tmp_path_factory):
    return songs(tmp_path_factory.mktemp("album"))


def batches(album, workers=0, count=6, **kwargs):
    loader = build_loader(ExampleStream(build_drawer(album, MIXING, THREE), 3, **kwargs), workers)
    return [batch for batch, _ in zip(loader, range(count), strict=False)]


def same(one, other):
    return all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


@pytest.mark.parametrize("workers", [1, 2])
def test_workers_change_nothing(album, workers):
    alone = batches(album, batch_size=2)
    assert alone[0].references.shape == (2, 3, 2, 1600)
    assert alone[0].present.shape == (2, 3)
    assert all(same(a, b) for a, b in zip(alone, batches(album, workers, batch_size=2), strict=True))


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("world_size", [2, 3])
def test_ranks_together_make_the_batches_of_one_process(album, world_size, workers):
    alone = batches(album, batch_size=2 * world_size, count=3)
    ranks = [
        batches(album, workers, count=3, batch_size=2, rank=rank, world_size=world_size) for rank in range(world_size)
    ]
    for batch, parts in zip(alone, zip(*ranks, strict=True), strict=True):
        for whole, pieces in zip(batch, zip(*parts, strict=True), strict=True):
            assert torch.equal(whole, torch.cat(pieces))


@pytest.mark.parametrize("workers", [0, 2])
def test_a_resumed_run_goes_on_with_the_next_batch(album, workers):
    alone = batches(album, batch_size=2)
    resumed = batches(album, workers, count=3, batch_size=2, start=3)
    assert all(same(a, b) for a, b in zip(alone[3:], resumed, strict=True))


def test_batches_hold_the_examples_by_their_numbers(album):
    drawer = build_drawer(album, MIXING, THREE)
    for number, batch in enumerate(batches(album, batch_size=3, count=4)):
        for place in range(3):
            assert torch.equal(batch.mixture[place], drawer.draw(3, 3 * number + place).mixture)
    mixtures = torch.cat([batch.mixture for batch in batches(album, batch_size=3, count=20)]).flatten(1)
    assert len(torch.unique(mixtures, dim=0)) == 60


def test_shorter_mixtures_of_a_batch_are_padded(tmp_path):
    mixing = SpeakerMixing(segment_seconds=5.0, length="min", speed_range=(1.0, 1.0))
    stream = ExampleStream(build_drawer(utterances(tmp_path), mixing, TWO), 0, batch_size=8)
    batch = next(iter(stream))
    lengths = {(mixture != 0).any(dim=0).nonzero().max().item() + 1 for mixture in batch.mixture}
    assert batch.mixture.shape[-1] == 12000
    assert {round(length, -1) for length in lengths} == {8000, 12000}


def test_a_stream_that_cannot_be_drawn_is_refused_at_once(album):
    with pytest.raises(ConfigError):
        build_drawer(album, SpeakerMixing(), THREE.__class__(**{**vars(THREE), "sources": ("a",)}))
    for wrong in ({"batch_size": 0}, {"rank": 2, "world_size": 2}, {"start": -1}):
        with pytest.raises(ConfigError, match="there is no batch"):
            ExampleStream(build_drawer(album, MIXING, THREE), 0, **{"batch_size": 1, **wrong})


def test_given_mixtures_come_once_per_round_in_a_new_order(album):
    mixing = GivenMixtures(segment_seconds=10.0)
    drawer = build_drawer(album, mixing, THREE)
    pitches = [
        int(np.abs(np.fft.rfft(drawer.draw(0, index).references[0, 0, :RATE].numpy())).argmax()) for index in range(30)
    ]
    rounds = [tuple(pitches[start : start + 3]) for start in range(0, 30, 3)]
    assert all(sorted(one) == [200, 210, 220] for one in rounds)
    assert len(set(rounds)) > 2
    # A drawer that was elsewhere before draws the same.
    assert torch.equal(build_drawer(album, mixing, THREE).draw(0, 17).mixture, drawer.draw(0, 17).mixture)


def test_segments_of_given_mixtures_keep_mixture_and_sources_together(tmp_path):
    clips = {
        name: write_clip(tmp_path / f"{name}.wav", tone(hz, 2.0)) for name, hz in (("drums", 200), ("vocals", 310))
    }
    noisy = write_clip(tmp_path / "mixture.wav", tone(200, 2.0) + tone(310, 2.0) + tone(470, 2.0))
    data = dataset(tmp_path, [Item("a", {k: (c,) for k, c in clips.items()}, noisy)], ("drums", "vocals"))
    for index in range(5):
        example = draw_example(data, GivenMixtures(segment_seconds=0.5), spec(("vocals", "drums")), 0, index)
        rest = (example.mixture - example.references.sum(0))[0].numpy()
        assert np.abs(np.fft.rfft(rest)).argmax() == 470 / 2
        assert np.abs(np.fft.rfft(example.references[0, 0].numpy())).argmax() == 310 / 2


def test_whole_mixtures_for_validation(tmp_path):
    album = songs(tmp_path, missing={(1, "bass")})
    given = GivenExamples(album, THREE)
    assert len(given) == 3
    assert given[0].mixture.shape == (2, 24000)
    torch.testing.assert_close(given[0].mixture, given[0].references.sum(0))
    assert given[1].present.tolist() == [True, False, True]
    assert len(GivenExamples(album, THREE, limit=2)) == 2
    assert GivenExamples(album, THREE, max_seconds=1.0)[2].references.shape == (3, 2, 8000)
    loaded = list(build_loader(given, 2))
    assert [batch.mixture.shape for batch in loaded] == [(1, 2, 24000)] * 3
    assert torch.equal(loaded[1].references[0], given[1].references)


def test_speakers_of_given_mixtures_are_matched_by_position(tmp_path):
    sources = {name: (write_clip(tmp_path / f"{name}.wav", tone(200, 1.0, 1)),) for name in ("s1", "s2")}
    data = dataset(tmp_path, [Item("m", sources)], ("s1", "s2"), exchangeable=True)
    assert GivenExamples(data, TWO)[0].present.all()
    three = spec(("a", "b", "c"), channels=1, exchangeable=True)
    with pytest.raises(DataError, match="2 speakers"):
        GivenExamples(data, three)


def test_single_sources_are_no_mixtures(tmp_path):
    with pytest.raises(DataError, match="only single sources"):
        GivenExamples(utterances(tmp_path), TWO)


def test_drawn_examples_are_always_the_same(album):
    first, again = (DrawnExamples(album, MIXING, THREE, seed=9, count=3) for _ in range(2))
    assert len(first) == 3
    assert all(same(first[n], again[n]) for n in range(3))
    with pytest.raises(IndexError):
        first[3]


def test_listed_mixtures_are_found_wherever_the_root_lies(tmp_path):
    data = utterances(tmp_path / "speech" / "made")
    mixture = ListedMixture("0", "made/0-0.wav", "made/1-1.wav", 0.5, 0.25, 7000, "made", "FM", 1.0)
    example = ListedExamples(data, [mixture], TWO)[0]
    assert example.references.shape == (2, 1, 7000)
    expected = tone(120, 1.0, 1)[:, :7000] * np.float32(0.5)
    assert np.array_equal(example.references[0].numpy(), expected)
    missing = ListedMixture("0", "made/0-0.wav", "made/9-1.wav", 0.5, 0.25, 7000, "made", "FM", 1.0)
    with pytest.raises(DataError, match=r"9-1\.wav"):
        ListedExamples(data, [missing], TWO)

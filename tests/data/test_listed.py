"""Fixed lists: the same every time, and rebuilt to the bit."""

import csv
from dataclasses import replace
from importlib.resources import files

import numpy as np
import pytest
import soundfile

from tests.data.made import dataset, songs, spec
from unbraid.data import lists
from unbraid.data.levels import measure_db
from unbraid.data.listed import list_mixtures, read_list, write_list
from unbraid.data.loaders import ListedExamples
from unbraid.data.open import open_dataset
from unbraid.data.speaker_levels import MIXTURE_LEVEL_DB
from unbraid.errors import ConfigError, DataError

TWO = spec(("speaker1", "speaker2"), channels=1, exchangeable=True)


def test_a_list_is_rebuilt_exactly(corpus_root, tmp_path):
    data = open_dataset(corpus_root, "train")
    mixtures = list_mixtures(data, 12, seed=4)
    assert mixtures == list_mixtures(data, 12, seed=4) != list_mixtures(data, 12, seed=5)
    write_list(mixtures, tmp_path / "list.csv")
    again = read_list(tmp_path / "list.csv")
    assert again == mixtures
    speakers = {item.name: item.labels["speaker"] for item in data.items}
    for mixture, example in zip(again, ListedExamples(data, again, TWO), strict=True):
        assert speakers[mixture.first] != speakers[mixture.second]
        assert example.references.shape == (2, 1, mixture.num_samples)
        first, second = (measure_db(reference.numpy(), "rms", 8000) for reference in example.references)
        assert first - second == pytest.approx(mixture.level_difference_db, abs=0.01)
        assert measure_db(example.mixture.numpy(), "rms", 8000) == pytest.approx(MIXTURE_LEVEL_DB, abs=0.01)
        for reference, (path, gain) in zip(example.references, mixture.parts, strict=True):
            samples, _ = soundfile.read(corpus_root / path, dtype="int16", frames=mixture.num_samples)
            assert np.array_equal(reference[0].numpy(), samples.astype(np.float32) / 32768 * np.float32(gain))


def test_another_rate_and_more_channels(corpus_root):
    data = open_dataset(corpus_root, "train")
    mixtures = list_mixtures(data, 1, seed=0)
    example = ListedExamples(data, mixtures, spec(("a", "b"), channels=2, rate=16_000, exchangeable=True))[0]
    assert example.references.shape == (2, 2, 2 * mixtures[0].num_samples)
    with pytest.raises(ConfigError, match="two speakers"):
        ListedExamples(data, mixtures, spec(("a", "b", "c"), exchangeable=True))


def test_two_collections_and_their_pairs_take_a_third_each(corpus_root):
    data = open_dataset(corpus_root, "train")
    items = [
        replace(item, labels={**item.labels, "collection": "ab"[int(item.labels["speaker"][-1]) % 2]})
        for item in data.items
    ]
    mixtures = list_mixtures(replace(data, items=tuple(items)), 9, seed=0)
    assert [mixture.collections for mixture in mixtures] == ["a", "b", "cross"] * 3


def test_one_speaker_makes_no_list(tmp_path):
    with pytest.raises(DataError, match="0 speakers"):
        list_mixtures(songs(tmp_path), 1, seed=0)
    with pytest.raises(DataError, match="0 speakers"):
        list_mixtures(dataset(tmp_path, [], ("speech",)), 1, seed=0)


@pytest.mark.parametrize(("name", "count"), [("speech-valid", 200), ("speech-test", 300)])
def test_the_bundled_lists_are_whole(name, count):
    text = (files(lists) / f"{name}.csv").read_text()
    rows = list(csv.DictReader(text.splitlines()))
    assert [row["name"] for row in rows] == [f"{number:04d}" for number in range(count)]

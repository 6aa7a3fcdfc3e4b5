"""Fixed lists: the same every time, and rebuilt to the bit."""

import csv
from dataclasses import replace
from importlib.resources import files

import numpy as np
import pytest
import soundfile

from tests.data.made import dataset, songs, spec, tone, utterances, write_clip
from unbraid.data import lists
from unbraid.data.items import Item
from unbraid.data.lists.draw_pairs import add_noise, list_mixtures
from unbraid.data.lists.speaker_pairs import ListedMixture, holds_noise, read_list, write_list
from unbraid.data.loaders import ListedExamples
from unbraid.data.mixing.levels import measure_db
from unbraid.data.mixing.speaker_levels import MIXTURE_LEVEL_DB
from unbraid.data.open import open_dataset
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


def test_noise_lies_behind_both_speakers_and_is_nobodys_reference(tmp_path):
    data = utterances(tmp_path, takes=1, noise=True)
    longer = [item for item in data.items if "speaker" not in item.labels]
    spoken = [
        Item(f"{number}", {"speech": (write_clip(tmp_path / f"long{number}.wav", tone(hz, 3.0, 1)),)}, None, labels)
        for number, (hz, labels) in enumerate([(150, {"speaker": "a"}), (240, {"speaker": "b"})])
    ]
    short = Item("click", {"noise": (write_clip(tmp_path / "click.wav", tone(900, 0.5, 1)),)})
    data = dataset(tmp_path, [*spoken, *longer, short], ("speech",), exchangeable=True)
    clean = list_mixtures(data, 10, seed=1)
    noisy = add_noise(data, clean, seed=2)
    assert noisy == add_noise(data, clean, seed=2) != add_noise(data, clean, seed=3)
    write_list(noisy, tmp_path / "noisy.csv")
    write_list(clean, tmp_path / "clean.csv")
    assert holds_noise(tmp_path / "noisy.csv")
    assert not holds_noise(tmp_path / "clean.csv")
    assert "noise" not in (tmp_path / "clean.csv").read_text()
    again = read_list(tmp_path / "noisy.csv")
    assert again == noisy
    for mixture, example, without in zip(
        again, ListedExamples(data, again, TWO), ListedExamples(data, clean, TWO), strict=True
    ):
        assert example.references.equal(without.references)
        noise = (example.mixture - without.mixture).numpy()
        speech = measure_db(without.mixture.numpy(), "rms", 8000)
        assert speech - measure_db(noise, "rms", 8000) == pytest.approx(mixture.noise_below_db, abs=0.02)
        assert 0 <= mixture.noise_below_db <= 15
    places = [(mixture.noise_from, mixture.noise_at) for mixture in noisy if mixture.noise == "click.wav"]
    assert places
    assert all(at > 0 == start for start, at in places)
    places = [(mixture.noise_from, mixture.noise_at) for mixture in noisy if mixture.noise != "click.wav"]
    assert places
    assert all(start > 0 == at for start, at in places)


def test_noise_has_to_be_there_and_to_sound(corpus_root, tmp_path):
    with pytest.raises(DataError, match="no source 'noise'"):
        add_noise(open_dataset(corpus_root, "train"), [], seed=0)
    data = utterances(tmp_path / "made")
    silence = Item(
        "nothing", {"noise": (write_clip(tmp_path / "made" / "nothing.wav", np.zeros((1, 8000), np.float32)),)}
    )
    data = replace(data, items=(*data.items, silence))
    longer = [item for item in data.items if item.name.endswith("-1")]
    mixture = ListedMixture(
        "0", *(item.sources["speech"][0].path.name for item in longer[:2]), 1.0, 1.0, 8000, "", "", 0.0
    )
    with pytest.raises(DataError, match="silent"):
        add_noise(data, [mixture], seed=0)


def test_overlap_is_the_share_of_time_in_which_both_speak(tmp_path):
    loud, silent = tone(150, 1.0, 1), np.zeros((1, 8000), np.float32)
    spoken = {"a": np.concatenate([loud, loud, silent], 1), "b": np.concatenate([silent, loud, loud], 1)}
    items = [
        Item(name, {"speech": (write_clip(tmp_path / f"{name}.wav", samples),)}, None, {"speaker": name})
        for name, samples in spoken.items()
    ]
    mixture = list_mixtures(dataset(tmp_path, items, ("speech",), exchangeable=True), 1, seed=0)[0]
    assert mixture.overlap == pytest.approx(1 / 3, abs=0.01)


def test_one_speaker_makes_no_list(tmp_path):
    with pytest.raises(DataError, match="0 speakers"):
        list_mixtures(songs(tmp_path), 1, seed=0)
    with pytest.raises(DataError, match="0 speakers"):
        list_mixtures(dataset(tmp_path, [], ("speech",)), 1, seed=0)


@pytest.mark.parametrize("seconds", [(1.9, 1.9, 1.9), (1.9, 2.1, 1.9)], ids=["nobody", "one"])
def test_too_few_long_utterances_are_refused_instead_of_sought_for_ever(seconds, tmp_path):
    items = [
        Item(f"{n}", {"speech": (write_clip(tmp_path / f"{n}.wav", tone(200, length, 1)),)}, None, {"speaker": f"{n}"})
        for n, length in enumerate(seconds)
    ]
    with pytest.raises(DataError, match="too few speakers with utterances of 2 s or more"):
        list_mixtures(dataset(tmp_path, items, ("speech",), exchangeable=True), 1, seed=0)


def test_each_collection_has_to_hold_two_speakers(tmp_path):
    items = [
        Item(
            name,
            {"speech": (write_clip(tmp_path / f"{name}.wav", tone(200, 2.5, 1)),)},
            None,
            {"speaker": name, "collection": "small" if name == "a" else "large"},
        )
        for name in "abc"
    ]
    with pytest.raises(DataError, match="or more in small"):
        list_mixtures(dataset(tmp_path, items, ("speech",), exchangeable=True), 3, seed=0)


@pytest.mark.parametrize(
    ("name", "count"),
    [("speech-valid", 200), ("speech-test", 300), ("speech-noisy-valid", 200), ("speech-noisy-test", 300)],
)
def test_the_bundled_lists_are_whole(name, count):
    text = (files(lists) / f"{name}.csv").read_text()
    rows = list(csv.DictReader(text.splitlines()))
    assert [row["name"] for row in rows] == [f"{number:04d}" for number in range(count)]

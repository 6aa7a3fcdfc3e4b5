"""Mixtures: drawn by number alone, rebuilt exactly from a list."""

import numpy as np
import pytest
import torch

from unbraid.data.corpus import load_corpus
from unbraid.data.loaders import MixtureStream, stream_loader
from unbraid.data.mixing import (
    MIXTURE_LEVEL_DB,
    SpeakerMixing,
    build_mixture,
    draw_mixture,
    list_mixtures,
    read_list,
    write_list,
)
from unbraid.data.speaker_levels import BalancedLevels
from unbraid.errors import ConfigError, DataError


@pytest.fixture
def corpus(corpus_root):
    return load_corpus(corpus_root, "train", 8000)


def level_db(samples):
    return 10 * np.log10(np.mean(np.square(samples, dtype=np.float64), axis=-1))


def test_an_example_is_a_function_of_seed_and_number(corpus, corpus_root):
    mixing = SpeakerMixing(segment_seconds=1.0)
    first = draw_mixture(corpus, mixing, seed=1, index=5)
    assert first.shape == (2, 8000)
    assert first.dtype == np.float32
    fresh = load_corpus(corpus_root, "train", 8000)
    assert np.array_equal(first, draw_mixture(fresh, mixing, seed=1, index=5))
    assert not np.array_equal(first, draw_mixture(corpus, mixing, seed=1, index=6))
    assert not np.array_equal(first, draw_mixture(corpus, mixing, seed=2, index=5))


def test_levels_are_as_asked(corpus):
    mixing = SpeakerMixing(segment_seconds=1.5, levels=BalancedLevels(gain_range_db=(0.0, 0.0)))
    differences = []
    for index in range(40):
        references = draw_mixture(corpus, mixing, 0, index)
        assert level_db(references.sum(0)) == pytest.approx(MIXTURE_LEVEL_DB, abs=0.01)
        differences.append(np.subtract(*level_db(references)))
    assert np.abs(differences).max() <= 5.01
    assert np.ptp(differences) > 5


def test_short_utterances_are_padded_with_silence(corpus):
    references = draw_mixture(corpus, SpeakerMixing(segment_seconds=6.0), 0, 0)
    assert references.shape == (2, 48000)
    assert (references == 0).any(axis=-1).all()


def test_workers_give_the_same_batches_in_the_same_order(corpus):
    mixing = SpeakerMixing(segment_seconds=0.5)

    def batches(workers, start=0, count=5):
        loader = stream_loader(MixtureStream(corpus, mixing, 3, batch_size=2, start=start), workers)
        return [batch for batch, _ in zip(loader, range(count), strict=False)]

    alone = batches(0)
    assert alone[0].shape == (2, 2, 1, 4000)
    assert all(torch.equal(a, b) for a, b in zip(alone, batches(2), strict=True))
    assert all(torch.equal(a, b) for a, b in zip(alone[2:], batches(0, start=2, count=3), strict=True))


def test_a_list_is_rebuilt_exactly(corpus, tmp_path):
    mixtures = list_mixtures(corpus, 12, seed=4)
    assert mixtures == list_mixtures(corpus, 12, seed=4)
    write_list(mixtures, tmp_path / "list.csv")
    again = read_list(tmp_path / "list.csv")
    assert again == mixtures
    for mixture in again:
        references = build_mixture(corpus, mixture)
        assert references.shape == (2, mixture.num_samples)
        assert np.subtract(*level_db(references)) == pytest.approx(mixture.level_difference_db, abs=0.01)
        assert corpus.by_path[mixture.first].speaker != corpus.by_path[mixture.second].speaker


def test_no_speaker_stands_in_two_splits(corpus_root):
    splits = [set(load_corpus(corpus_root, split, 8000).speakers) for split in ("train", "valid", "test")]
    assert len(set.union(*splits)) == sum(len(split) for split in splits)


def test_the_cache_stays_within_its_bound(corpus_root):
    corpus = load_corpus(corpus_root, "train", 8000)
    corpus._cache_bytes = 100_000
    for utterance in corpus.utterances:
        corpus.read(utterance.path)
    assert corpus._cached_bytes <= 100_000


def test_another_rate_is_resampled(corpus_root):
    assert len(load_corpus(corpus_root, "train", 16000).read("made/train/0/0.flac")) == round(2.2 * 16000)


def test_a_folder_without_a_manifest_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"manifest\.csv"):
        load_corpus(tmp_path, "train", 8000)


def test_a_manifest_without_the_columns_is_refused(tmp_path):
    (tmp_path / "manifest.csv").write_text("file,who\na.wav,b\n")
    with pytest.raises(DataError, match="columns"):
        load_corpus(tmp_path, "train", 8000)


def test_one_speaker_is_not_enough_for_a_mixture():
    with pytest.raises(ConfigError):
        SpeakerMixing(num_speakers=1)

"""Data sets of speech: mixtures of speakers, and single utterances to mix."""

import numpy as np
import pytest

from tests.data.builders import noise, write, write_csv
from unbraid.data.clips import read_clip, read_source
from unbraid.data.layouts.layout import NoSplitError
from unbraid.data.open import open_dataset, open_splits
from unbraid.errors import DataError

EXACT = {"subtype": "FLOAT"}


def write_mixtures(folder, mixtures, sources, names, seconds=0.3):
    """`mixtures`: folder -> folders of which it is the sum."""
    for name in names:
        sounds = {source: noise(f"{name}/{source}", seconds=seconds) for source in sources}
        for source, samples in sounds.items():
            write(folder / source / f"{name}.wav", samples, **EXACT)
        for mixture, parts in mixtures.items():
            write(folder / mixture / f"{name}.wav", sum(sounds[part] for part in parts), **EXACT)


def assert_sum(item):
    parts = [read_source(clips, 0, 2400, 8000) for clips in item.sources.values()]
    assert np.allclose(sum(parts), read_clip(item.mixture, 0, 2400, 8000), atol=1e-6)


WSJ0_NAMES = ("019o031a_0.27588_01vo030q_-0.27588", "40na010x_1.9857_01xo031a_-1.9857")


@pytest.mark.parametrize("named", ["", "2speakers", "2speakers/wav8k", "2speakers/wav8k/min"])
def test_wsj0_2mix(tmp_path, named):
    for split in ("tr", "cv", "tt"):
        folder = tmp_path / "2speakers" / "wav8k" / "min" / split
        write_mixtures(folder, {"mix": ("s1", "s2")}, ("s1", "s2"), WSJ0_NAMES)
    train, valid, test = open_splits(tmp_path / named)
    assert open_dataset(tmp_path / named, "train", train.layout) == train
    assert (train.layout, train.sources, train.exchangeable) == ("wsj0-mix", ("speaker1", "speaker2"), True)
    assert [item.name for item in valid.items] == list(WSJ0_NAMES)
    assert test.items[0].labels == {"speaker1": "019", "speaker2": "01v"}
    assert_sum(train.items[1])


def test_wsj0_3mix(tmp_path):
    name = "011a010c_2.1_20do010j_0.3_421a010e_-2.1"
    write_mixtures(tmp_path / "wav16k/max/tr", {"mix": ("s1", "s2", "s3")}, ("s1", "s2", "s3"), [name])
    dataset = open_dataset(tmp_path, "train")
    assert (dataset.layout, dataset.sources) == ("wsj0-mix", ("speaker1", "speaker2", "speaker3"))
    assert dataset.items[0].labels["speaker3"] == "421"
    assert_sum(dataset.items[0])
    with pytest.raises(NoSplitError, match="'valid'"):
        open_dataset(tmp_path, "valid")


def test_several_forms_side_by_side_have_to_be_named(tmp_path):
    for form in ("wav8k/min", "wav8k/max"):
        write_mixtures(tmp_path / form / "tr", {"mix": ("s1", "s2")}, ("s1", "s2"), WSJ0_NAMES)
    with pytest.raises(DataError, match=r"wav8k/max, wav8k/min"):
        open_dataset(tmp_path, "train")
    assert len(open_dataset(tmp_path / "wav8k" / "max", "train").items) == 2


def test_a_speaker_that_was_not_copied_completely_is_noticed(tmp_path):
    write_mixtures(tmp_path / "tr", {"mix": ("s1", "s2")}, ("s1", "s2"), WSJ0_NAMES)
    (tmp_path / "tr" / "s2" / f"{WSJ0_NAMES[0]}.wav").unlink()
    with pytest.raises(DataError, match=r"lacks 1 of the 2 files of mix/, such as 019o"):
        open_dataset(tmp_path, "train")


def test_lrs2_mix_is_told_by_its_name(tmp_path):
    root = tmp_path / "LRS2-2Mix"
    write_mixtures(root / "audio/wav16k/min/tr", {"mix": ("s1", "s2")}, ("s1", "s2"), ["a_1.0_b_-1.0"])
    dataset = open_dataset(root, "train")
    assert (dataset.layout, dataset.sources) == ("lrs2-mix", ("speaker1", "speaker2"))
    assert dataset.items[0].labels == {}


LIBRI_NAMES = ("3536-8226-0026_1673-143397-0009", "84-121123-0001_174-50561-0002")
LIBRI_MIXTURES = {"mix_clean": ("s1", "s2"), "mix_both": ("s1", "s2", "noise"), "mix_single": ("s1", "noise")}


@pytest.fixture
def librimix(tmp_path):
    root = tmp_path / "Libri2Mix" / "wav8k" / "min"
    for subset in ("train-100", "train-360", "dev", "test"):
        names = LIBRI_NAMES if subset == "train-360" else LIBRI_NAMES[:1]
        write_mixtures(root / subset, LIBRI_MIXTURES, ("s1", "s2", "noise"), names)
        rows = [
            {"mixture_ID": name, "mixture_path": f"/elsewhere/{subset}/mix_clean/{name}.wav", "length": "2400"}
            for name in names
        ]
        write_csv(root / "metadata" / f"mixture_{subset}_mix_clean.csv", rows)
    return tmp_path


def test_libri2mix_clean_is_what_is_meant_by_default(librimix):
    train, valid, test = open_splits(librimix)
    assert train.layout == "librimix:clean"
    assert (len(train.items), len(valid.items), len(test.items)) == (2, 1, 1)
    item = train.items[0]
    assert set(item.sources) == {"speaker1", "speaker2"}
    assert item.labels == {"speaker1": "3536", "speaker2": "1673"}
    assert item.mixture.num_samples == 2400
    assert item.mixture.path.is_file(), "paths are where the data is, not where it was generated"
    assert_sum(item)


def test_libri2mix_noisy_and_single(librimix):
    noisy = open_dataset(librimix, "train", "librimix:noisy,train-100")
    assert (noisy.layout, noisy.sources) == ("librimix:noisy,train-100", ("speaker1", "speaker2"))
    assert len(noisy.items) == 1
    assert set(noisy.items[0].sources) == {"speaker1", "speaker2", "noise"}
    assert_sum(noisy.items[0])
    single = open_dataset(librimix, "valid", "librimix:single")
    assert (single.sources, single.exchangeable) == (("speaker1",), False)
    assert_sum(single.items[0])


def test_libri2mix_without_tables_and_without_noise(tmp_path):
    write_mixtures(tmp_path / "train-100", {"mix_clean": ("s1", "s2")}, ("s1", "s2"), LIBRI_NAMES)
    dataset = open_dataset(tmp_path, "train")
    assert (dataset.layout, len(dataset.items)) == ("librimix:clean", 2)
    with pytest.raises(DataError, match="generate"):
        open_dataset(tmp_path, "train", "librimix:noisy")


@pytest.mark.parametrize("length", ["2400.0", "²", "2400.x", "1e3", "0", "-5", "9" * 400, ""])
def test_lengths_in_a_table_that_are_none_are_asked_of_the_files(librimix, length):
    table = librimix / "Libri2Mix/wav8k/min/metadata/mixture_dev_mix_clean.csv"
    write_csv(table, [{"mixture_ID": LIBRI_NAMES[0], "mixture_path": "/x.wav", "length": length}])
    assert open_dataset(librimix, "valid").items[0].mixture.num_samples == 2400


def test_libri3mix(tmp_path):
    name = "a-1-1_b-1-1_c-1-1"
    write_mixtures(tmp_path / "Libri3Mix/wav16k/max/dev", {"mix_clean": ("s1", "s2", "s3")}, ("s1", "s2", "s3"), [name])
    dataset = open_dataset(tmp_path / "Libri3Mix", "valid")
    assert dataset.sources == ("speaker1", "speaker2", "speaker3")
    assert dataset.items[0].labels["speaker3"] == "c"


def test_minilibrimix(tmp_path):
    root = tmp_path / "MiniLibriMix"
    for subset in ("train", "val"):
        write_mixtures(root / subset, LIBRI_MIXTURES, ("s1", "s2", "noise"), LIBRI_NAMES)
    write_csv(root / "metadata" / "mixture_train_mix_both.csv", [{"mixture_ID": LIBRI_NAMES[0], "length": "2400"}])
    train, valid = open_splits(root, "librimix:noisy")
    assert (train.layout, len(train.items), len(valid.items)) == ("librimix:noisy", 2, 2)
    assert open_dataset(root, "train").layout == "librimix:clean"


def test_wham(tmp_path):
    folder = tmp_path / "wham_original" / "wav8k" / "min" / "tr"
    write_mixtures(folder, LIBRI_MIXTURES, ("s1", "s2", "noise"), WSJ0_NAMES)
    noisy = open_dataset(tmp_path, "train")
    assert (noisy.layout, noisy.sources) == ("wham:noisy", ("speaker1", "speaker2"))
    assert_sum(noisy.items[0])
    clean = open_dataset(tmp_path, "train", "wham:clean")
    assert set(clean.items[0].sources) == {"speaker1", "speaker2"}
    assert_sum(clean.items[0])


def test_whamr_has_anechoic_targets(tmp_path):
    sources = ("s1_anechoic", "s2_anechoic", "s1_reverb", "s2_reverb", "noise")
    mixtures = {
        "mix_both_reverb": ("s1_reverb", "s2_reverb", "noise"),
        "mix_clean_reverb": ("s1_reverb", "s2_reverb"),
        "mix_both_anechoic": ("s1_anechoic", "s2_anechoic", "noise"),
    }
    write_mixtures(tmp_path / "whamr/wav8k/min/cv", mixtures, sources, WSJ0_NAMES)
    reverberant = open_dataset(tmp_path, "valid")
    assert reverberant.layout == "whamr:noisy"
    assert not reverberant.mixtures_are_sums
    item = reverberant.items[0]
    assert item.mixture.path.parent.name == "mix_both_reverb"
    assert [clips[0].path.parent.name for clips in item.sources.values()] == ["s1_anechoic", "s2_anechoic", "noise"]
    dry = open_dataset(tmp_path, "valid", "whamr:anechoic")
    assert (dry.layout, dry.mixtures_are_sums) == ("whamr:noisy,anechoic", True)
    assert_sum(dry.items[0])


def test_wsj0_by_speaker(tmp_path):
    for folder, speaker in (("si_tr_s", "011"), ("si_tr_s", "01a"), ("si_dt_05", "050")):
        for take in range(2):
            write(tmp_path / "wsj0" / folder / speaker / f"{speaker}c02{take}.wav", noise(f"{speaker}{take}"))
    train, valid = open_splits(tmp_path)
    assert (train.layout, train.sources, train.exchangeable) == ("wsj0", ("speech",), True)
    assert [item.labels["speaker"] for item in train.items] == ["011", "011", "01a", "01a"]
    assert len(valid.items) == 2


def test_wsj0_as_the_ldc_sends_it_is_refused_with_the_way_out(tmp_path):
    (tmp_path / "si_tr_s" / "011").mkdir(parents=True)
    (tmp_path / "si_tr_s" / "011" / "011c0201.wv1").write_bytes(b"NIST_1A\n")
    with pytest.raises(DataError, match=r"011c0201\.wv1.*sph2pipe"):
        open_dataset(tmp_path, "train")


def test_librispeech_by_speaker(tmp_path):
    for subset, speaker in (("train-clean-100", "103"), ("train-other-500", "20"), ("dev-clean", "84")):
        write(tmp_path / "LibriSpeech" / subset / speaker / "7" / f"{speaker}-7-0000.flac", noise(speaker))
    train, valid = open_splits(tmp_path)
    assert [item.labels["speaker"] for item in train.items] == ["103"]
    assert valid.items[0].name == "84-7-0000"
    assert len(open_dataset(tmp_path, "train", "librispeech:other").items) == 2

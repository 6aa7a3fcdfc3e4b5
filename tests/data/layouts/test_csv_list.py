"""Lists in CSV and JSON lines, and the corpus of the bundled models."""

import json

import numpy as np
import pytest

from tests.data.builders import noise, write, write_csv
from unbraid.data.clips import read_clip, read_source
from unbraid.data.open import open_dataset, open_splits
from unbraid.errors import DataError, UnknownNameError


def test_a_list_of_stems(tmp_path):
    rows = []
    for split in ("train", "valid"):
        for stem in ("drums", "vocals", "mixture"):
            write(tmp_path / "audio" / f"{split}-{stem}.flac", noise(f"{split}{stem}"))
            rows.append(
                {"path": f"audio/{split}-{stem}.flac", "split": split, "track": split, "stem": stem, "mood": "x"}
            )
    write(tmp_path / "more.flac", noise("more"))
    rows.append({"path": str(tmp_path / "more.flac"), "split": "train", "track": "train", "stem": "drums", "mood": ""})
    write_csv(tmp_path / "songs.csv", rows)
    train, valid = open_splits(tmp_path / "songs.csv")
    assert (train.layout, train.sources, train.exchangeable) == ("list", ("vocals", "drums"), False)
    (item,) = train.items
    assert item.mixture is not None
    assert item.labels["mood"] == "x"
    drums = read_source(item.sources["drums"], 0, 4000, 8000)
    assert np.allclose(drums[0], noise("traindrums")[:, 0] + noise("more")[:, 0], atol=1e-3)
    assert valid.items[0].name == "valid"


def test_a_list_of_stretches_in_json_lines(tmp_path):
    write(tmp_path / "tape.wav", noise(3, seconds=2), subtype="FLOAT")
    lines = [{"path": "tape.wav", "start": 1000 * n, "num_samples": 1000, "speaker": f"who{n}"} for n in range(3)]
    (tmp_path / "manifest.jsonl").write_text("\n".join(map(json.dumps, lines)))
    splits = open_splits(tmp_path)
    assert all(dataset.exchangeable and dataset.sources == ("speech",) for dataset in splits)
    items = {item.labels["speaker"]: item for dataset in splits for item in dataset.items}
    assert sorted(items) == ["who0", "who1", "who2"]
    assert len({item.name for item in items.values()}) == 3
    (clip,) = items["who2"].sources["speech"]
    assert np.allclose(read_clip(clip, 0, 1000, 8000)[0], noise(3, seconds=2)[2000:3000, 0], atol=1e-6)


def test_a_list_without_splits_is_shared_out_by_speaker(tmp_path):
    rows = []
    for number in range(40):
        write(tmp_path / f"{number}.flac", noise(number, seconds=0.1))
        rows.append({"path": f"{number}.flac", "speaker": f"who{number % 20}"})
    write_csv(tmp_path / "manifest.csv", rows)
    splits = open_splits(tmp_path)
    assert [len(dataset.items) for dataset in splits] == [32, 4, 4]
    speakers = [{item.labels["speaker"] for item in dataset.items} for dataset in splits]
    assert len(set.union(*speakers)) == sum(map(len, speakers)) == 20


@pytest.mark.parametrize(
    ("row", "sentence"),
    [
        ({"path": "tape.wav", "start": "3900", "num_samples": "200"}, "asks for 200 from 3900"),
        ({"path": "tape.wav", "start": "half"}, "whole numbers"),
        ({"path": "lost.wav", "start": ""}, r"lost\.wav"),
        ({"path": "x" * 300 + ".wav", "start": ""}, r"cannot be read \(File name too long\)"),
        ({"path": "tape.wav", "stream": "²"}, "whole numbers, not '²'"),
        ({"path": "", "start": ""}, r"list\.csv' names no file in its row 1"),
    ],
)
def test_rows_that_cannot_be_are_refused(tmp_path, row, sentence):
    write(tmp_path / "tape.wav", noise(3))
    write_csv(tmp_path / "list.csv", [row])
    with pytest.raises(DataError, match=sentence):
        open_dataset(tmp_path / "list.csv", "train")


def test_a_list_that_is_not_text_is_refused(tmp_path):
    (tmp_path / "list.jsonl").write_text("{not json\n")
    with pytest.raises(DataError, match=r"list\.jsonl"):
        open_dataset(tmp_path / "list.jsonl", "train", "list")


def test_a_later_line_without_a_file_is_told_by_its_number(tmp_path):
    write(tmp_path / "tape.wav", noise(3))
    (tmp_path / "list.jsonl").write_text('{"path": "tape.wav"}\n\n{"speaker": "a"}\n')
    with pytest.raises(DataError, match="names no file in its row 2"):
        open_dataset(tmp_path / "list.jsonl", "train")


@pytest.fixture
def corpus(tmp_path):
    speech, music, effects = [], [], []
    for split in ("train", "valid", "test"):
        for speaker in range(2):
            path = f"libri/{split}/{speaker}/{speaker}.flac"
            write(tmp_path / "speech" / path, noise(path), 8000)
            speech.append({"path": path, "speaker": f"{split}{speaker}", "sex": "F", "split": split, "seconds": 0.5})
        for stem in ("vocals", "drums", "other"):
            path = f"free/{split}/song/{stem}.ogg"
            write(tmp_path / "music" / path, noise(path, channels=2))
            music.append({"path": path, "track": f"song-{split}", "stem": stem, "split": split, "note": ""})
        write(tmp_path / "fx" / f"rain/{split}.ogg", noise(split))
        effects.append({"path": f"rain/{split}.ogg", "set": "rain", "split": split})
    for part, rows in (("speech", speech), ("music", music), ("fx", effects)):
        write_csv(tmp_path / part / "manifest.csv", rows)
    return tmp_path


def test_the_corpus_is_speech_unless_another_part_is_asked_for(corpus):
    speech = open_dataset(corpus, "train")
    assert (speech.layout, speech.sources, speech.exchangeable) == ("corpus:speech", ("speech",), True)
    assert [item.labels["speaker"] for item in speech.items] == ["train0", "train1"]
    assert speech.items[0].labels["collection"] == "libri"
    music = open_dataset(corpus, "valid", "corpus:music")
    # The song has no bass stem, so its `other` holds the bass and is no target.
    assert music.sources == ("vocals", "drums")
    assert [tuple(item.sources) for item in music.items] == [("vocals", "drums", "accompaniment")]
    effects = open_dataset(corpus, "test", "corpus:effects")
    assert (effects.sources, len(effects.items)) == (("effects",), 1)


def test_a_part_of_the_corpus_can_be_named(corpus):
    assert open_dataset(corpus / "speech", "train").layout == "corpus:speech"
    assert open_dataset(corpus / "music", "train").layout == "corpus:music"
    assert open_dataset(corpus / "fx", "train").layout == "corpus:effects"


def test_the_cinematic_corpus_is_three_pools(corpus):
    dataset = open_dataset(corpus, "train", "corpus:cinematic")
    assert dataset.sources == ("dialogue", "music", "effects")
    assert [tuple(item.sources) for item in dataset.items] == [("dialogue",)] * 2 + [("music",)] * 3 + [("effects",)]
    music = [[clip.path.stem for clip in item.sources["music"]] for item in dataset.items[2:5]]
    assert music == [["drums", "other"], ["drums"], ["other"]]  # the song, and its instruments alone


def test_whole_instrumentals_are_music_for_film_sound_and_no_songs_of_stems(corpus):
    write(corpus / "music" / "film" / "train" / "march.ogg", noise("march", channels=2))
    with (corpus / "music" / "manifest.csv").open("a") as manifest:
        manifest.write("film/train/march.ogg,march,accompaniment,train,\n")
    assert [item.name for item in open_dataset(corpus, "train", "corpus:music").items] == ["song-train"]
    film = open_dataset(corpus, "train", "corpus:cinematic")
    assert [item.name for item in film.items if "march" in item.name] == ["music/march"]


def test_the_noisy_corpus_is_utterances_with_sounds_beside_them(corpus):
    dataset = open_dataset(corpus, "train", "corpus:noisy")
    assert (dataset.sources, dataset.exchangeable) == (("speech",), True)
    assert [tuple(item.sources) for item in dataset.items] == [("speech",)] * 2 + [("noise",)]
    assert dataset.items[2].name.startswith("noise/")


def test_unknown_names_are_answered_with_the_known_ones(corpus):
    with pytest.raises(UnknownNameError, match="musdb18-hq"):
        open_dataset(corpus, "train", "musdb")
    with pytest.raises(UnknownNameError, match="cinematic"):
        open_dataset(corpus, "train", "corpus:opera")

"""The corpus of the bundled models, rebuilt from copies of its sources, in miniature."""

import hashlib

import numpy as np
import pytest
import soundfile

from tests.data.builders import noise, write, write_csv
from unbraid.data.layouts.csv_list import read_rows
from unbraid.data.open import open_dataset
from unbraid.data.prepare import corpus as rebuilding
from unbraid.data.prepare.corpus import SOURCES, TABLES, prepare_corpus
from unbraid.data.prepare.tasks import Failed, Prepared, Wrote
from unbraid.errors import DataError

MIDI = b"MThd as good as any"


def digest(samples):
    return hashlib.blake2b(np.rint(samples * 32768).astype("<i2").tobytes(), digest_size=8).hexdigest()


@pytest.fixture
def sources(tmp_path, monkeypatch):
    """Copies of the sources as they are published, and lists of what the corpus takes from them."""
    root, lists = tmp_path / "sources", tmp_path / "lists"
    speech = []
    for collection, place, name in (
        ("libri", "Resemblyzer/audio_data/1034-1-0000.flac", "1034-1-0000"),
        ("ocean", "speechocean762/WAVE/SPEAKER0003/000030012.WAV", "000030012"),
    ):
        write(root / place, noise(name, rate=16000), 16000, subtype="PCM_16")
        samples, _ = soundfile.read(root / place, always_2d=True)
        speech.append({
            "path": f"{collection}/train/{name}.flac", "speaker": name[:4], "sex": "F", "split": "train",
            "seconds": "0.5", "licence": "", "digest": digest(samples),
        })  # fmt: skip
    # Nothing is known of a sentence of `intent` but its length.
    write(root / "speech-to-intent-benchmark/data/speech/clean/0075-d.wav", noise("order", rate=16000), 16000)
    speech.append({
        "path": "intent/train/0075-d.flac", "speaker": "intent", "sex": "", "split": "train", "seconds": "0.5",
        "licence": "", "digest": "",
    })  # fmt: skip
    write(root / "remixed/src/1.Hydrogen/1.Hydrogen_Stem_KICK.m4a.wav", noise(0), 8000)  # not by this name
    for part, channels in (("KICK", 2), ("HATS", 1), ("VOX LEAD", 2)):
        for ending in ("", "_mobile"):
            name = f"1.Hydrogen_Stem_{part}{ending}.flac"
            samples = noise(part, seconds=1, rate=44100, channels=channels) * (0.1 if ending else 1)
            write(root / "remixed/src/1.Hydrogen" / name, samples, 44100)
    music = [
        {"path": f"free/train/1.Hydrogen/{stem}.flac", "track": "1.Hydrogen", "stem": stem, "split": "train",
         "seconds": "0.9", "licence": "", "note": "", "files": files}
        for stem, files in (("drums", "KICK|HATS"), ("vocals", "VOX LEAD"))
    ]  # fmt: skip
    write(root / "uh/unknown-horizons/content/audio/music/GoldenValley.ogg", noise("valley", channels=2), 8000)
    music.append({
        "path": "film/train/unknown-horizons-goldenvalley.flac", "track": "unknown-horizons-goldenvalley",
        "stem": "accompaniment", "split": "train", "seconds": "0.5", "licence": "", "note": "", "files": "",
    })  # fmt: skip
    write(root / "ESC-50/audio/1-116765-A-41.wav", noise("saw", channels=2), 8000)
    write(root / "other/rain.ogg", noise("not this"), 8000)
    write(root / "blanket/data/rain.ogg", noise("rain"), 8000)
    effects = [
        {"path": "esc10/Chainsaw/1-116765-A.flac", "set": "esc10", "split": "train", "seconds": "0.5"},
        {"path": "blanket/rain.flac", "set": "blanket", "split": "valid", "seconds": "0.5"},
        {"path": "berlin_noise/0619.flac", "set": "berlin_noise", "split": "train", "seconds": "9"},
    ]
    quiet = np.zeros((800, 1))
    write(root / "audio/berklee/Slam(loud).wav", np.concatenate([quiet, noise("slam")]), 8000)
    write(root / "redeclipse/data/sounds/ambience/alarm.ogg", noise("alarm"), 8000)
    write(root / "redeclipse/data/sounds/weapons/alarm.ogg", noise("another"), 8000)
    effects += [
        {"path": "berklee/Slam_loud_.flac", "set": "berklee", "split": "train", "seconds": "0.4"},
        {"path": "redeclipse/redeclipse_sounds_ambience_alarm.flac", "set": "redeclipse", "split": "train",
         "seconds": "0.5", "original": "sounds_ambience_alarm"},
    ]  # fmt: skip
    (root / "lmms").mkdir()
    (root / "lmms" / "Zen.mmpz").write_bytes(b"a project")
    projects = [
        {"path": "lmms/Zen.mmpz", "split": "train", "digest": hashlib.blake2b(b"a project", digest_size=8).hexdigest()}
    ]
    (root / "freedoom").mkdir()
    (root / "freedoom" / "d_e1m1.mid").write_bytes(MIDI)
    midi = [
        {"path": "midi/train/d_e1m1.mid", "split": "train", "digest": hashlib.blake2b(MIDI, digest_size=8).hexdigest()}
    ]
    for one in effects:
        one.setdefault("original", "")
    lists_of = {"speech": speech, "music": music, "fx": effects, "midi": midi, "lmms": projects}
    for name, rows in lists_of.items():
        write_csv(lists / f"{name}.csv", rows)
    monkeypatch.setattr(rebuilding, "TABLES", lists)
    monkeypatch.setattr(rebuilding, "SOURCES", {**SOURCES, "free": "there"})
    return root


def test_the_corpus_is_rebuilt(sources, tmp_path):
    out = tmp_path / "corpus"
    events = list(prepare_corpus(sources, out, jobs=2))
    assert [event.name for event in events if isinstance(event, Failed)] == ["berlin_noise"], events
    assert len([event for event in events if isinstance(event, Wrote)]) == 3
    speech = open_dataset(out, "train")
    assert (speech.layout, len(speech.items)) == ("corpus:speech", 3)
    for item in speech.items:
        if item.labels["speaker"] == "intent":
            continue
        (clip,) = item.sources["speech"]
        expected = np.rint(noise(clip.path.stem, rate=16000) * 32768)
        assert np.abs(soundfile.read(clip.path, dtype="int16", always_2d=True)[0] - expected).max() <= 1
    assert [item.name for item in open_dataset(out, "valid", "corpus:effects").items] == ["blanket/rain.flac"]
    rain, _ = soundfile.read(out / "fx" / "blanket" / "rain.flac")
    assert np.corrcoef(rain, noise("rain")[:, 0])[0, 1] > 0.9
    saw, _ = soundfile.read(out / "fx/esc10/Chainsaw/1-116765-A.flac")
    assert np.allclose(saw, noise("saw", channels=2).mean(axis=1), atol=1e-3)
    slam, _ = soundfile.read(out / "fx/berklee/Slam_loud_.flac")
    assert np.allclose(slam, noise("slam")[:3200, 0], atol=1e-3)
    alarm, _ = soundfile.read(out / "fx/redeclipse/redeclipse_sounds_ambience_alarm.flac")
    assert np.corrcoef(alarm, noise("alarm")[:, 0])[0, 1] > 0.9
    valley, _ = soundfile.read(out / "music/film/train/unknown-horizons-goldenvalley.flac")
    assert valley.shape == (4000, 2)
    assert (out / "music/lmms/Zen.mmpz").read_bytes() == b"a project"
    assert (out / "music/midi/train/d_e1m1.mid").read_bytes() == MIDI


def test_stems_are_sums_of_parts_at_one_gain(sources, tmp_path):
    list(prepare_corpus(sources, tmp_path / "corpus"))
    folder = tmp_path / "corpus/music/free/train/1.Hydrogen"
    drums, rate = soundfile.read(folder / "drums.flac")
    vocals, _ = soundfile.read(folder / "vocals.flac")
    assert (drums.shape, rate) == ((39_690, 2), 44100)
    parts = {
        part: noise(part, seconds=1, rate=44100, channels=n)[:39_690]
        for part, n in (("KICK", 2), ("HATS", 1), ("VOX LEAD", 2))
    }
    gain = vocals.max() / parts["VOX LEAD"].max()
    assert np.allclose(vocals, gain * parts["VOX LEAD"], atol=1e-3)
    assert np.allclose(drums, gain * (parts["KICK"] + parts["HATS"]), atol=1e-3)
    assert np.abs(drums + vocals).max() == pytest.approx(0.885, abs=1e-3)
    assert open_dataset(tmp_path / "corpus", "train", "corpus:music").sources == ("vocals", "drums")


def test_it_goes_on_where_it_stopped_and_keeps_what_sources_no_longer_hold(sources, tmp_path):
    out = tmp_path / "corpus"
    list(prepare_corpus(sources, out))
    (sources / "ESC-50/audio/1-116765-A-41.wav").unlink()
    events = list(prepare_corpus(sources, out))
    assert all(event.skipped for event in events if isinstance(event, Prepared))
    assert len(open_dataset(out, "train", "corpus:effects").items) == 3


@pytest.mark.parametrize(
    ("path", "change", "sentence"),
    [
        ("Resemblyzer/audio_data/1034-1-0000.flac", 0.5, "other samples"),
        ("blanket/data/rain.ogg", None, "not 0.5 s long"),
        ("remixed/src/1.Hydrogen", "HATS", "the part 'HATS' of the drums"),
    ],
)
def test_what_is_not_the_original_is_not_taken(sources, tmp_path, path, change, sentence):
    if change == "HATS":
        for file in (sources / path).glob("*HATS*"):
            file.unlink()
    elif change is None:
        write(sources / path, noise("rain", seconds=1), 8000)
    else:
        write(sources / path, change * noise("1034-1-0000", rate=16000), 16000)
    failed = [event for event in prepare_corpus(sources, tmp_path / "corpus") if isinstance(event, Failed)]
    assert any(sentence in event.message for event in failed)


def test_a_folder_without_any_source_is_refused(sources, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="holds nothing of the corpus"):
        list(prepare_corpus(tmp_path / "empty", tmp_path / "corpus"))


def test_the_lists_name_every_source_once_and_no_speaker_twice():
    rows = {name: list(read_rows(TABLES / f"{name}.csv")) for name in ("speech", "music", "midi", "lmms", "fx")}
    collections = {row["path"].split("/")[0] for part in rows.values() for row in part}
    assert collections == set(SOURCES)
    for part in rows.values():
        assert len({row["path"] for row in part}) == len(part)
    splits = {}
    assert all(row["digest"] for row in rows["speech"] if row["split"] != "train")
    for row in rows["speech"]:
        assert splits.setdefault(row["speaker"], row["split"]) == row["split"]
    listed = {
        row[key]
        for name in ("test", "valid")
        for row in read_rows(TABLES.parent / f"speech-{name}.csv")
        for key in ("first", "second")
    }
    assert listed <= {row["path"] for row in rows["speech"]}

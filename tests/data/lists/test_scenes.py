"""Fixed lists of scenes: the same every time, rebuilt to the bit, at the levels they are to have."""

import csv
from importlib.resources import files
from itertools import pairwise

import numpy as np
import pytest
import torch

from tests.data.builders import noise, write
from tests.data.made import spec
from unbraid.data import lists
from unbraid.data.lists.draw_scenes import LEVELS_LUFS, list_scenes
from unbraid.data.lists.scenes import (
    Scene,
    ScenePiece,
    find_recordings,
    holds_scenes,
    read_scene_source,
    read_scenes,
    write_scenes,
)
from unbraid.data.loaders import SceneExamples
from unbraid.data.open import open_dataset
from unbraid.errors import ConfigError, DataError
from unbraid.evaluation.tracks import open_list
from unbraid.signal.loudness import loudness as measure_loudness

SOURCES = tuple(LEVELS_LUFS)
RATE = 8000


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    """Speech, songs, rendered songs and effects, as the corpus has them."""
    root = tmp_path_factory.mktemp("films")
    tables = {
        "speech": [["path", "speaker", "sex", "split", "seconds", "licence"]],
        "music": [["path", "track", "stem", "split", "seconds", "licence", "note"]],
        "fx": [["path", "set", "split", "seconds", "author", "licence"]],
    }
    for split in ("train", "valid", "test"):
        for speaker in range(3):
            for take in range(3):
                path = f"made/{split}/{speaker}/{take}.wav"
                write(root / "speech" / path, noise(f"s{split}{speaker}{take}", 1.5 + take), RATE)
                tables["speech"].append([path, f"{split}{speaker}", "F", split, str(1.5 + take), "none"])
        for font in ("rendered", "rendered-other"):
            for stem in ("drums", "other"):
                path = root / "music" / font / split / "tune" / f"{stem}.flac"
                write(path, noise(f"{font}{split}{stem}", 15.0, channels=2), RATE)
    for split in ("train", "valid"):
        for stem in ("vocals", "drums", "other"):
            path = f"songs/{split}/{stem}.wav"
            write(root / "music" / path, noise(f"m{split}{stem}", 14.0, channels=2), RATE)
            tables["music"].append([path, f"song {split}", stem, split, "14", "none", ""])
        for number in range(4):
            for take in "AB":
                path = f"esc/{split}/5-{number}-{take}.wav"
                write(root / "fx" / path, noise(f"f{split}{number}{take}", 5.0), RATE)
                tables["fx"].append([path, "esc", split, "5.0", "nobody", "none"])
    for part, rows in tables.items():
        with (root / part / "manifest.csv").open("w", newline="") as file:
            csv.writer(file).writerows(rows)
    return root


def opened(corpus, split="valid"):
    return open_dataset(corpus, split, "corpus:cinematic")


def test_the_corpus_gives_pools_of_three_sources(corpus):
    names = {item.name for item in opened(corpus).items}
    assert {"music/song valid", "music/song valid/drums", "music/rendered-other/valid/tune"} <= names
    assert "music/song valid/vocals" not in names
    assert "music/rendered/valid/tune/drums" not in names
    song = next(item for item in opened(corpus).items if item.name == "music/song valid")
    assert sorted(clip.path.stem for clip in song.sources["music"]) == ["drums", "other"]


def test_takes_of_one_recording_stay_in_one_split(corpus):
    effects = {
        split: {item.name for item in opened(corpus, split).items if item.name.startswith("effects/")}
        for split in ("train", "valid", "test")
    }
    assert effects["valid"] == {f"effects/esc/valid/5-{number}-{take}.wav" for number in (0, 2) for take in "AB"}
    assert effects["test"] == {f"effects/esc/valid/5-{number}-{take}.wav" for number in (1, 3) for take in "AB"}
    assert len(effects["train"]) == 8


def test_a_list_is_the_same_every_time_and_survives_the_file(corpus, tmp_path):
    scenes = list_scenes(opened(corpus), 6, seed=3, sample_rate=RATE)
    assert scenes == list_scenes(opened(corpus), 6, seed=3, sample_rate=RATE)
    assert scenes != list_scenes(opened(corpus), 6, seed=4, sample_rate=RATE)
    write_scenes(scenes, tmp_path / "list.csv")
    assert holds_scenes(tmp_path / "list.csv")
    assert read_scenes(tmp_path / "list.csv") == scenes


def test_pieces_have_their_places_and_levels(corpus):
    data = opened(corpus)
    scenes = list_scenes(data, 12, seed=0, sample_rate=RATE)
    recordings = find_recordings(data, scenes)
    for scene in scenes:
        assert scene.sources == SOURCES
        for piece in scene.pieces:
            assert 0 <= piece.at < piece.at + piece.seconds <= scene.seconds + 1e-9
            alone = type(scene)(scene.name, scene.seconds, RATE, (piece,))
            samples = read_scene_source(alone, piece.source, recordings, RATE)
            start, end = round(piece.at * RATE), round((piece.at + piece.seconds) * RATE)
            assert not samples[:, :start].any()
            assert not samples[:, end:].any()
            # Steady noise: what is measured is the piece, whatever silence is around it.
            loudness = float(measure_loudness(torch.from_numpy(samples[:, start:end]).double(), RATE))
            assert loudness == pytest.approx(LEVELS_LUFS[piece.source], abs=3.3)
        spoken = sorted((piece.at, piece.seconds) for piece in scene.pieces if piece.source == "dialogue")
        assert all(at + length <= later for (at, length), (later, _) in pairwise(spoken))


def test_examples_and_tracks_are_the_same_sound(corpus, tmp_path):
    data = opened(corpus, "test")
    write_scenes(list_scenes(data, 2, seed=1, sample_rate=RATE), tmp_path / "mine.csv")
    scenes = read_scenes(tmp_path / "mine.csv")
    examples = SceneExamples(data, scenes, spec(SOURCES, channels=1, rate=RATE))
    tracks = open_list(str(tmp_path / "mine.csv"), corpus)
    assert tracks.sources == SOURCES
    assert not tracks.exchangeable
    for example, track in zip(examples, tracks.tracks, strict=True):
        assert example.mixture.shape == (1, 12 * RATE)
        references = track.read_references(SOURCES, 0, track.num_samples)
        assert np.array_equal(references, example.references.numpy())
        np.testing.assert_allclose(track.read_mixture(0, track.num_samples), example.mixture, atol=1e-6)
        np.testing.assert_allclose(references.sum(axis=0), example.mixture, atol=1e-6)
        assert set(track.labels["music"].split("+")) <= {"rendered", "rendered-other"}
        excerpt = track.read_reference("effects", 5000, 300)
        assert np.array_equal(excerpt, references[2][:, 5000:5300])


def test_another_rate_keeps_the_times(corpus):
    data = opened(corpus)
    scenes = list_scenes(data, 1, seed=0, sample_rate=RATE)
    recordings = find_recordings(data, scenes)
    slow = read_scene_source(scenes[0], "effects", recordings, RATE)
    fast = read_scene_source(scenes[0], "effects", recordings, 2 * RATE)
    assert fast.shape[-1] == 2 * slow.shape[-1]
    # Noise of the lower rate has nothing above half of it: every second sample is about the same again.
    assert np.corrcoef(fast[0, ::2], slow[0])[0, 1] > 0.98


def test_songs_are_scenes_of_stems_in_stereo(corpus, tmp_path):
    data = open_dataset(corpus, "valid", "corpus:music")
    stems = {"song valid": ("vocals", "drums", "accompaniment"), "rendered/valid/tune": ("drums", "other")}
    songs = [
        Scene(item, 2.0, RATE, tuple(ScenePiece(stem, item, 1.0, 2.0, 0.0, 1.0) for stem in names), 2)
        for item, names in stems.items()
    ]
    write_scenes(songs, tmp_path / "songs.csv")
    assert read_scenes(tmp_path / "songs.csv") == songs
    recorded, rendered = SceneExamples(data, songs, spec(("vocals", "drums", "bass", "other"), channels=2, rate=RATE))
    # The song's bass is in its accompaniment, so that nothing is known of bass and other.
    assert recorded.present.tolist() == [True, True, False, False]
    assert rendered.present.all()
    assert recorded.mixture.shape == (2, 2 * RATE)
    tracks = open_list(str(tmp_path / "songs.csv"), corpus).tracks
    assert tracks[0].sources == stems["song valid"]
    np.testing.assert_allclose(tracks[0].read_mixture(0, 2 * RATE), recorded.mixture, atol=1e-6)
    assert not torch.equal(recorded.mixture[0], recorded.mixture[1])


def test_what_is_missing_is_named(corpus, tmp_path):
    data = opened(corpus)
    scenes = list_scenes(data, 2, seed=0, sample_rate=RATE)
    with pytest.raises(DataError, match=r"lacks .* recordings of the list, such as dialogue/"):
        find_recordings(opened(corpus, "train"), scenes)
    with pytest.raises(ConfigError, match="no vocals"):
        SceneExamples(data, scenes, spec(("vocals", "music"), channels=1))
    speech_alone = type(data)("x", data.root, "valid", SOURCES, False, data.items[:3])
    with pytest.raises(DataError, match="no music"):
        list_scenes(speech_alone, 1, seed=0)


def test_the_bundled_lists_are_whole():
    names = {split: set() for split in ("valid", "test")}
    for split, count in (("valid", 100), ("test", 150)):
        scenes = read_scenes(files(lists) / f"cinematic-{split}.csv")
        assert len(scenes) == count
        for scene in scenes:
            assert scene.seconds == 12
            assert scene.sources == SOURCES
            names[split] |= {piece.item for piece in scene.pieces}
    assert not names["valid"] & names["test"]

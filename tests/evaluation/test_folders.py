"""The trees in which tools write their estimates."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.evaluation.conftest import RATE, write
from unbraid.errors import DataError
from unbraid.evaluation.matching.folders import match_folder
from unbraid.evaluation.tracks import TrackList, open_tracks

SOUND = 0.1 * np.ones((1, RATE // 4))


@pytest.fixture
def tracks(tmp_path: Path) -> TrackList:
    for song in ("Müller - A_song", "Müller - A_song (live)"):
        for stem in ("vocals", "drums", "mixture"):
            write(tmp_path / "data" / song / f"{stem}.wav", SOUND)
    return open_tracks(tmp_path / "data")


@pytest.mark.parametrize(
    "pattern",
    [
        "{track}/{stem}.wav",
        "htdemucs/{track}/{stem}.flac",
        "separated/speech/{track}/mixture/{stem}.wav",
        "{track}_umxl/{stem}.wav",
        "{track}_({Stem})_UVR-MDX-NET-Inst_HQ_3.flac",
        "{track}_{stem}.wav",
        "{track}-{stem}.ogg",
        "out/{track}.{stem}.wav",
        "{TRACK}/{STEM}.WAV",
    ],
)
def test_every_tree_is_understood(tracks: TrackList, tmp_path: Path, pattern: str):
    for track in tracks.tracks:
        for stem in ("vocals", "drums"):
            name = pattern.format(
                track=track.name, stem=stem, Stem=stem.title(), TRACK=track.name.upper(), STEM=stem.upper()
            )
            write(tmp_path / "tool" / name, SOUND)
    found = match_folder(tmp_path / "tool", tracks)
    assert {name: set(clips) for name, clips in found.items()} == {
        track.name: {"vocals", "drums"} for track in tracks.tracks
    }
    for name, clips in found.items():
        folded = str(clips["vocals"].path).lower()
        assert ("live" in folded) == ("live" in name), "the longest name that fits"


@pytest.mark.parametrize(
    ("file", "stem"),
    [
        ("no_vocals.wav", "accompaniment"),
        ("instrumental.wav", "accompaniment"),
        ("a_(No Vocals)_x.wav", "accompaniment"),
        ("no_drums.wav", "no_drums"),
        ("drum.wav", "drums"),
        ("singing.wav", "vocals"),
    ],
)
def test_sources_have_other_names(tracks: TrackList, tmp_path: Path, file: str, stem: str):
    for track in tracks.tracks:
        write(tmp_path / "tool" / track.name / file, SOUND)
    found = match_folder(tmp_path / "tool", tracks)
    assert all(list(clips) == [stem] for clips in found.values())


def test_other_of_two_is_all_the_rest(tmp_path: Path):
    for stem in ("vocals", "drums", "other"):
        write(tmp_path / "data" / "song" / f"{stem}.wav", SOUND)
    tracks = open_tracks(tmp_path / "data")
    for stem in ("vocals", "other"):
        write(tmp_path / "tool" / "song" / f"{stem}.wav", SOUND)
    assert set(match_folder(tmp_path / "tool", tracks)["song"]) == {"vocals", "no_vocals"}
    write(tmp_path / "tool" / "song" / "drums.wav", SOUND)
    assert set(match_folder(tmp_path / "tool", tracks)["song"]) == {"vocals", "drums", "other"}


def test_what_is_missing_is_named(tracks: TrackList, tmp_path: Path):
    first, second = (track.name for track in tracks.tracks)
    for stem in ("vocals", "drums"):
        write(tmp_path / "tool" / first / f"{stem}.wav", SOUND)
    with pytest.raises(DataError, match=rf"for 1 of 2 tracks: '{second[:5]}.*`skip_missing=True`"):
        match_folder(tmp_path / "tool", tracks)
    assert list(match_folder(tmp_path / "tool", tracks, skip_missing=True)) == [first]
    write(tmp_path / "tool" / second / "vocals.wav", SOUND)
    with pytest.raises(DataError, match=r"\(drums\)"):
        match_folder(tmp_path / "tool", tracks)


def test_two_tools_in_one_folder_are_told_apart(tracks: TrackList, tmp_path: Path):
    for tool in ("htdemucs", "umxl"):
        write(tmp_path / "tools" / tool / tracks.tracks[0].name / "vocals.wav", SOUND)
    with pytest.raises(DataError, match="name the folder of one tool"):
        match_folder(tmp_path / "tools", tracks)


def test_nothing_fits(tracks: TrackList, tmp_path: Path):
    write(tmp_path / "tool" / "elsewhere" / "vocals.wav", SOUND)
    with pytest.raises(DataError, match=r"expected .*TRACK/SOURCE.wav and found elsewhere/vocals.wav"):
        match_folder(tmp_path / "tool", tracks)
    write(tmp_path / "other" / tracks.tracks[0].name / "kazoo.wav", SOUND)
    with pytest.raises(DataError, match="no file of"):
        match_folder(tmp_path / "other", tracks)

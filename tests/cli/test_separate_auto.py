import numpy as np
import pytest
import soundfile

from unbraid.audio.discovery import discover_audio
from unbraid.cli.separate_auto import choose_models
from unbraid.errors import UnknownNameError
from unbraid.separation import choice
from unbraid.separation.choice import choose_model, kind_of_stems
from unbraid.separation.detector import Detection


@pytest.fixture(autouse=True)
def alone(monkeypatch, tmp_path):
    """A machine on which nothing was downloaded."""
    monkeypatch.setenv("UNBRAID_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")


@pytest.fixture
def files(tmp_path, monkeypatch):
    """Recordings that sound like what their names say."""
    paths = {}
    for name in ("talk", "music", "film", "nothing"):
        paths[name] = tmp_path / f"{name}.wav"
        soundfile.write(paths[name], np.zeros(8000), 8000)

    def hear(path, sample_rate=None):
        kind = None if path.stem == "nothing" else path.stem
        return Detection(kind=kind, nothing=None if kind else "silence", certainty=1.0, probabilities={})

    monkeypatch.setattr("unbraid.cli.separate_auto.detect", hear)
    return paths


def without_music(monkeypatch):
    monkeypatch.setattr(choice, "bundled_models", lambda: ["cinematic", "speech"])


def test_each_recording_goes_to_the_model_for_what_it_is(files, monkeypatch, capsys):
    without_music(monkeypatch)
    found = discover_audio([files["talk"], files["film"], files["nothing"]])
    groups = {name: [file.path.stem for file in group.files] for name, group in choose_models(found, [], quiet=False)}
    assert groups == {"speech": ["talk", "nothing"], "cinematic": ["film"]}
    said = capsys.readouterr().err
    assert "talk.wav sounds like talk: the model 'speech' separates it" in said
    assert "nothing.wav holds nothing but silence, so the model does not matter" in said
    assert "film.wav sounds like film sound: the model 'cinematic' separates it; choose otherwise with -n" in said


def test_a_song_never_becomes_two_speakers_in_silence(files, monkeypatch):
    without_music(monkeypatch)
    with pytest.raises(UnknownNameError, match=r"music\.wav.*sounds like music.*unbraid models download htdemucs"):
        choose_models(discover_audio([files["music"]]), [], quiet=False)


def test_others_are_separated_all_the_same(files, monkeypatch):
    without_music(monkeypatch)
    ((name, group),) = choose_models(discover_audio([files["music"], files["talk"]]), [], quiet=True)
    assert name == "speech"
    assert [file.path.stem for file in group.files] == ["talk"]
    assert "sounds like music" in str(group.errors[0])


def test_stems_that_are_asked_for_tell_the_kind(files, capsys):
    ((name, _),) = choose_models(discover_audio([files["talk"]]), ["dialogue"], quiet=False)
    assert name == "cinematic"
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("stems", "kind"),
    [(["speaker2"], "talk"), (["vocals", "drums"], "music"), (["effects"], "film"), (["music"], None), ([], None)],
)
def test_kinds_of_stems(stems, kind):
    assert kind_of_stems(stems) == kind


def test_an_experimental_model_is_not_chosen_and_a_downloaded_one_goes_first(monkeypatch):
    from types import SimpleNamespace

    facts = {}
    monkeypatch.setattr(choice, "bundled_models", lambda: ["music", "speech"])
    monkeypatch.setattr(choice, "inspect_model", lambda name: SimpleNamespace(facts=facts))
    assert choose_model("music").name == "music"
    facts["experimental"] = True
    assert choose_model("music").name is None
    assert "or take it with `model=music`" in str(choose_model("music").missing("'song.wav'"))
    asked = str(choose_model("music").missing("'talk.wav'", heard=False))
    assert asked.startswith("'talk.wav' is asked for stems of music, and the only model")
    monkeypatch.setattr(choice, "find_downloaded", lambda name: "here" if name == "htdemucs" else None)
    assert choose_model("music").name == "htdemucs"


def test_the_song_ends_in_a_sentence_on_the_command_line(files, monkeypatch, run, tmp_path):
    without_music(monkeypatch)
    done = run("separate", files["music"], "-o", tmp_path / "out")
    assert done.code == 1
    assert "unbraid models download htdemucs" in done.err
    assert not (tmp_path / "out").exists()

"""Which models are offered, and which one a recording goes to."""

import pytest

from unbraid.errors import UnknownNameError
from unbraid.separation.choice import Choice
from unbraid.separation.detector import Detection
from unbraid.web.offers import choices
from unbraid.weights.listing import bundled_models


def test_bundled_models_are_offered_and_auto_is_last():
    found = choices.ModelChoices().all()
    names = [choice.name for choice in found]
    assert names[0] == "speech"
    assert names[-1] == "auto"
    assert set(bundled_models()) <= set(names)
    assert found[0].sources == ("speaker1", "speaker2")


@pytest.mark.parametrize("name", ["", "../speech", "hf:owner/name", "pretrained/speech.safetensors"])
def test_no_other_name_is_a_model(name):
    with pytest.raises(UnknownNameError, match="there is no model"):
        choices.ModelChoices().get(name)


@pytest.mark.parametrize(("kind", "model"), [("film", "cinematic"), ("talk", "speech"), (None, "speech")])
def test_auto_takes_the_model_for_what_is_heard(tmp_path, monkeypatch, kind, model):
    heard = Detection(kind=kind, certainty=1.0, probabilities={})
    monkeypatch.setattr(choices, "detect", lambda _: heard)
    assert choices.ModelChoices().hear(tmp_path / "recording", "a.wav") == model


def test_where_no_model_is_for_it_one_is_suggested(tmp_path, monkeypatch):
    monkeypatch.setattr(choices, "detect", lambda _: Detection(kind="music", certainty=1.0, probabilities={}))
    monkeypatch.setattr(choices, "choose_model", lambda kind: Choice(kind=kind, name=None, suggestion="htdemucs"))
    with pytest.raises(UnknownNameError, match=r"^'a.wav' sounds like music, .* models download htdemucs"):
        choices.ModelChoices().hear(tmp_path / "recording", "a.wav")

"""One recording into files, and the names of the files."""

from __future__ import annotations

from pathlib import Path, PurePath

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from unbraid.errors import ConfigError
from unbraid.models.catalog import build_model
from unbraid.output.export import EncodingChoice, Exported, export, export_settings
from unbraid.output.naming import FilenameTemplate, OutputPaths, plan_paths, safe_name
from unbraid.output.record import ModelIdentity, is_done
from unbraid.separation.events import Block, Finished, Started
from unbraid.separation.separator import Separator

MODEL = ModelIdentity("tiny", "0" * 64)


@pytest.fixture(scope="module")
def separator() -> Separator:
    model = build_model("s4m-tiny", kernel_ms=8.0, num_rounds=1, depth=2, hidden_dim=16, bottleneck_dim=8)
    return Separator(model, device="cpu", segment_seconds=1.0)


@pytest.fixture
def talk(tmp_path) -> Path:
    path = tmp_path / "talk.wav"
    soundfile.write(path, np.random.default_rng(0).uniform(-0.9, 0.9, (24_000, 2)), 8_000, "PCM_24")
    return path


def paths_below(folder: Path, **settings) -> OutputPaths:
    values = {"track": "talk", "track_extension": "wav", "stems": ("speaker1", "speaker2"), "extension": "wav"}
    return plan_paths(folder, PurePath(), FilenameTemplate(), model="tiny", **(values | settings))


def test_events_pass_and_files_appear_at_the_end(separator, talk, tmp_path):
    paths = paths_below(tmp_path / "out")
    kinds = []
    for event in export(separator, talk, paths, EncodingChoice(), MODEL):
        kinds.append(type(event))
        assert all(path.exists() for path in paths.stems.values()) == (kinds[-1] in (Finished, Exported))
    assert kinds[0] is Started
    assert Block in kinds
    assert kinds[-2:] == [Finished, Exported]
    assert soundfile.info(paths.stems["speaker1"]).subtype == "PCM_24"
    assert {path.name for path in paths.folder.iterdir()} == {"speaker1.wav", "speaker2.wav", "talk.unbraid.json"}


def test_one_gain_for_all_stems_is_told(separator, talk, tmp_path):
    loud = Separator(separator.model, device="cpu", consistency="residual")
    soundfile.write(talk, np.sign(np.random.default_rng(0).standard_normal(8_000)) * 1.7, 8_000, "FLOAT")
    paths = paths_below(tmp_path / "out", stems=loud.stem_plan.names)
    *_, exported = export(loud, talk, paths, EncodingChoice(sample="int16"), MODEL)
    assert isinstance(exported, Exported)
    assert 0.3 < exported.gain < 0.7
    assert exported.record["gain"] == exported.gain
    assert max(np.abs(soundfile.read(path)[0]).max() for path in paths.stems.values()) == pytest.approx(1, abs=1e-3)


def test_closing_early_leaves_nothing(separator, talk, tmp_path):
    events = export(separator, talk, paths_below(tmp_path / "deep" / "out"), EncodingChoice(), MODEL)
    while not isinstance(next(events), Block):
        assert (tmp_path / "deep").exists()
    events.close()
    assert list(tmp_path.iterdir()) == [talk]


def test_done_means_same_model_settings_and_files(separator, talk, tmp_path):
    paths, choice = paths_below(tmp_path / "out"), EncodingChoice()
    settings = export_settings(separator, choice)
    assert not is_done(paths, MODEL, settings, talk)
    for _ in export(separator, talk, paths, choice, MODEL):
        pass
    assert is_done(paths, MODEL, settings, talk)
    assert not is_done(paths, ModelIdentity("tiny", "1" * 64), settings, talk)
    assert not is_done(paths, MODEL, settings | {"overlap": 0.5}, talk)
    paths.record.write_text("[]")
    assert not is_done(paths, MODEL, settings, talk)


NAMES = st.text(max_size=300)


@settings(max_examples=40, deadline=None)
@given(track=NAMES, model=NAMES, extension=NAMES)
def test_whatever_a_recording_is_called_its_files_stay_below_the_folder(track, model, extension):
    for template in ("{track}/{stem}.{ext}", "{model}{trackext}/{stem}{track}"):
        path = plan_paths(
            Path("/out"),
            PurePath(),
            FilenameTemplate(template),
            track=track,
            track_extension=extension,
            stems=("a", "b"),
            extension="wav",
            model=model,
        )
        for stem in (*path.stems.values(), path.record):
            assert stem.is_relative_to("/out")
            assert ".." not in stem.parts
            assert not any(letter in "\\\0\n\r" for letter in str(stem))
        assert path.stems["a"] != path.stems["b"]


@pytest.mark.parametrize(
    ("text", "safe"),
    [
        ("AC/DC", "AC_DC"),
        ("..", "_"),
        ("", "_"),
        ("a\\b\n", "a_b_"),
        ("João – été", "João – été"),
        ("ends in dots...", "ends in dots"),
        ("日" * 200, "日" * 50),
    ],
)
def test_safe_names(text, safe):
    assert safe_name(text) == safe


@pytest.mark.parametrize(
    "text", ["", "/abs/{stem}", "{track.__class__}", "{}", "{track[0]}", "a/../{stem}", "{stem:q}"]
)
def test_templates_that_cannot_be(text):
    with pytest.raises(ConfigError, match="`filename`"):
        FilenameTemplate(text)

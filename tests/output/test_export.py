"""One recording into files, and the names of the files."""

from __future__ import annotations

import errno
import json
import math
import os
from pathlib import Path, PurePath

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from unbraid.errors import AudioWriteError, ConfigError, UnknownNameError
from unbraid.models.catalog import build_model
from unbraid.output.config import OutputConfig
from unbraid.output.export import Exported, export
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
    for event in export(separator, talk, paths, OutputConfig(), MODEL):
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
    *_, exported = export(loud, talk, paths, OutputConfig(sample="int16"), MODEL)
    assert isinstance(exported, Exported)
    assert 0.3 < exported.gain < 0.7
    assert exported.record["gain"] == exported.gain
    assert max(np.abs(soundfile.read(path)[0]).max() for path in paths.stems.values()) == pytest.approx(1, abs=1e-3)


def test_closing_early_leaves_nothing(separator, talk, tmp_path):
    events = export(separator, talk, paths_below(tmp_path / "deep" / "out"), OutputConfig(), MODEL)
    while not isinstance(next(events), Block):
        assert (tmp_path / "deep").exists()
    events.close()
    assert list(tmp_path.iterdir()) == [talk]


def test_done_means_same_model_settings_and_files(separator, talk, tmp_path):
    paths, output = paths_below(tmp_path / "out"), OutputConfig()
    assert not is_done(paths, MODEL, separator, output, talk)
    for _ in export(separator, talk, paths, output, MODEL):
        pass
    assert is_done(paths, MODEL, separator, output, talk)
    assert is_done(paths, MODEL, separator, OutputConfig(filename="{stem}", stems=("speaker1",)), talk)
    assert not is_done(paths, ModelIdentity("tiny", "1" * 64), separator, output, talk)
    assert not is_done(paths, MODEL, separator, OutputConfig(clip_mode="clamp"), talk)
    other = Separator(separator.model, device="cpu", segment_seconds=1.0, overlap=0.5)
    assert not is_done(paths, MODEL, other, output, talk)
    paths.record.write_text("[]")
    assert not is_done(paths, MODEL, separator, output, talk)


def test_records_of_version_0_1_0_are_known_again(separator, talk, tmp_path):
    paths, output = paths_below(tmp_path / "out"), OutputConfig()
    for _ in export(separator, talk, paths, output, MODEL):
        pass
    record = json.loads(paths.record.read_text())
    # What 0.1.0 wrote for the same command.
    record["format"], record["settings"] = (
        1,
        {
            "segment_seconds": 1.0,
            "overlap": 0.25,
            "join": "fade",
            "shift_samples": [0],
            "consistency": "none",
            "two_stems": None,
            "other_method": "add",
            "tracking": "recording",
            "allow_truncated": False,
            "mend_samples": False,
            "container": "wav",
            "sample": None,
            "bitrate_kbps": 320,
            "clip_mode": "rescale",
        },
    )
    paths.record.write_text(json.dumps(record))
    assert is_done(paths, MODEL, separator, output, talk)
    assert not is_done(paths, MODEL, separator, OutputConfig(sample="int16"), talk)


def test_a_record_has_the_settings_as_python_has_them(separator, talk, tmp_path):
    loud = Separator(separator.model, device="cpu", segment_seconds="whole", remix={"speaker1": -math.inf})
    paths = paths_below(tmp_path / "out")
    *_, exported = export(loud, talk, paths, OutputConfig(container="flac"), MODEL)
    settings = json.loads(paths.record.read_text())["settings"]
    assert settings["separation"]["segment_seconds"] == "whole"
    assert settings["separation"]["remix"] == {"speaker1": "off"}
    assert settings["output"] == {"container": "flac", "sample": None, "bitrate_kbps": 320, "clip_mode": "rescale"}
    assert is_done(paths, MODEL, loud, OutputConfig(container="flac"), talk)
    assert isinstance(exported, Exported)


@pytest.mark.parametrize("earlier", [True, False])
@pytest.mark.parametrize("broken", ["speaker2.wav", "talk.unbraid.json"])
def test_stems_and_record_appear_together_or_not_at_all(separator, talk, tmp_path, monkeypatch, broken, earlier):
    paths = paths_below(tmp_path / "out")
    if earlier:
        list(export(separator, talk, paths, OutputConfig(), MODEL))
    before = {path.name: path.read_bytes() for path in paths.folder.glob("*")}
    replace = os.replace

    def failing(source, target):
        if (
            Path(target).name == broken
            and ".partial-" in Path(source).name
            and not str(source).endswith(("-old", "-before"))
        ):
            raise OSError(errno.ENOSPC, "No space left on device")
        replace(source, target)

    monkeypatch.setattr(os, "replace", failing)
    with pytest.raises(AudioWriteError, match="disk is full"):
        list(export(separator, talk, paths, OutputConfig(sample="int16"), MODEL))
    assert {path.name: path.read_bytes() for path in paths.folder.glob("*")} == before


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
    ("text", "safe"),
    [("a:b", "a_b"), ("con", "_con"), ("Aux.mix", "_Aux.mix"), ("contra", "contra"), ("w?*", "w__")],
)
def test_safe_names_on_windows(monkeypatch, text, safe):
    assert safe_name(text) == text
    monkeypatch.setattr("unbraid.output.naming.sys.platform", "win32")
    assert safe_name(text) == safe


@pytest.mark.parametrize(
    "text",
    [
        "",
        "/abs/{stem}",
        "{track.__class__}",
        "{}",
        "{track[0]}",
        "a/../{stem}",
        "{stem:q}",
        "{stem:/>30}",
        "{stem!r}",
        "{track}/{stem}/",
    ],
)
def test_templates_that_cannot_be(text):
    with pytest.raises(ConfigError, match="`filename`"):
        FilenameTemplate(text)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("..{trackext}/{stem}", "leads out of the output folder"),
        ("{trackext}/{stem}", "leads out of the output folder"),
        ("{stem}/{trackext}", "leaves stems without a name"),
        ("{stem}/.{ext}", "leaves stems without a name"),
    ],
)
def test_a_name_is_checked_when_it_is_filled(text, sentence):
    """What a recording without an extension makes of a template that looked well."""
    template = FilenameTemplate(text)
    with pytest.raises(ConfigError, match=sentence):
        template.fill(track="talk", stem="speaker1", extension="wav", track_extension="", model="tiny")


def test_stems_are_chosen_of_those_there_are():
    output = OutputConfig(stems=("music", "music"))
    assert output.choose(("dialogue", "music")) == ("music",)
    assert OutputConfig().choose(("a", "b")) == ("a", "b")
    with pytest.raises(UnknownNameError, match="no stem 'music': with these settings there are: a, b"):
        output.choose(("a", "b"))
    with pytest.raises(ConfigError, match="name at least one"):
        OutputConfig(stems=())
    with pytest.raises(ConfigError, match="leaves stems without a name"):
        OutputConfig(filename="{track}/")
    with pytest.raises(ConfigError, match="name of OGG, and the files are WAV"):
        OutputConfig(filename="{track}/{stem}.ogg")
    assert OutputConfig(filename="{track}/{stem}.OGG", container="ogg").filename == "{track}/{stem}.OGG"
    with pytest.raises(ConfigError, match="kbit/s"):
        OutputConfig(bitrate_kbps=3)

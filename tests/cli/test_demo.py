from __future__ import annotations

import runpy
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
import typer
from typer.testing import CliRunner

import unbraid
from tests.conftest import TINY
from unbraid.cli.demo import demo, find_examples, list_examples
from unbraid.errors import ConfigError, DataError, UnknownNameError
from unbraid.models.catalog import build_model
from unbraid.weights import store

REPOSITORY = Path(__file__).parents[2]
SIZES = {"kernel_ms": 8.0, "num_rounds": 2, "depth": 3, "hidden_dim": 32, "bottleneck_dim": 16}


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "tiny.safetensors"
    return unbraid.save_model(build_model("s4m-tiny", **SIZES), path, name="tiny")


def run(command, *arguments: object):
    app = typer.Typer()
    app.command()(command)
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_the_examples_are_exact():
    """Committed examples, not those of an installed package: every mixture is the sum of its sources to the bit."""
    folders = list_examples(REPOSITORY / "examples")
    assert [folder.name for folder in folders] == [
        "film-1",
        "two-speakers-noise-1",
        "song-1",
        "two-speakers-1",
        "two-speakers-2",
    ]
    for folder in folders:
        signals = {path.stem: soundfile.read(path, dtype="int16") for path in folder.glob("*.flac")}
        (rate,) = {rate for _, rate in signals.values()}
        assert rate == (44_100 if folder.name == "song-1" else 16_000)
        mixture = signals.pop("mixture")[0]
        total = np.sum([samples.astype(int) for samples, _ in signals.values()], axis=0)
        np.testing.assert_array_equal(mixture, total)
        assert 6 <= len(total) / rate <= 12
        assert all(name in (folder / "about.txt").read_text() for name in signals)


@pytest.mark.parametrize("script", ["separate_file.py", "stream_progress.py"])
def test_the_example_scripts(script: str, tmp_path: Path, weights: Path, monkeypatch: pytest.MonkeyPatch):
    mixture = shutil.copy(REPOSITORY / "examples" / "two-speakers-1" / "mixture.flac", tmp_path)
    monkeypatch.setattr(sys, "argv", [script, str(mixture), str(weights)])
    runpy.run_path(str(REPOSITORY / "examples" / script))
    lengths = [soundfile.info(tmp_path / f"mixture-speaker{number}.wav").frames for number in (1, 2)]
    assert lengths == [soundfile.info(mixture).frames] * 2


def test_demo(tmp_path: Path, weights: Path):
    result = run(demo, "--out", tmp_path, "--name", weights, "--device", "cpu")
    assert result.exit_code == 0, result.output
    assert "film-1" not in result.stdout  # not what this model separates
    for folder in [folder for folder in list_examples(find_examples()) if folder.name.startswith("two-speakers")]:
        assert folder.name in result.stdout
        mixture, rate = soundfile.read(folder / "mixture.flac")
        for number in (1, 2):
            stem, stem_rate = soundfile.read(tmp_path / "tiny" / folder.name / f"speaker{number}.wav")
            assert (len(stem), stem_rate) == (len(mixture), rate)
    assert all(word in result.stdout for word in ("before", "after", "improvement", "report.html"))
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert len(page) < 6 * 2**20
    assert "tiny (architecture s4m" in page


def test_every_example_goes_to_the_bundled_model_for_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    tiny = TINY["sfc-ca-small-cinematic"] | {"sample_rate": 16_000}
    for name in ("speech", "speech-noisy"):
        unbraid.save_model(build_model("s4m-tiny", **SIZES), tmp_path / f"{name}.safetensors", name=name)
    unbraid.save_model(
        build_model("sfc-ca-small-cinematic", **tiny), tmp_path / "cinematic.safetensors", name="cinematic"
    )
    unbraid.save_model(build_model("fb-tiny"), tmp_path / "music.safetensors", name="music")
    monkeypatch.setattr(store, "PRETRAINED", tmp_path)
    result = run(demo, "--out", tmp_path / "out", "--device", "cpu")
    assert result.exit_code == 0, result.output
    assert all(folder.name in result.stdout for folder in list_examples(find_examples()))
    stems = {path.relative_to(tmp_path / "out").as_posix() for path in (tmp_path / "out").rglob("*.wav")}
    assert {"cinematic/film-1/dialogue.wav", "speech/two-speakers-1/speaker1.wav"} <= stems
    assert "speech-noisy/two-speakers-noise-1/speaker2.wav" in stems
    assert {f"music/song-1/{stem}.wav" for stem in ("vocals", "drums", "bass", "other")} <= stems
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert "cinematic (architecture sfc" in page
    assert "speech (architecture s4m" in page


def test_demo_without_the_bundled_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(store, "PRETRAINED", tmp_path / "nothing")
    result = run(demo, "--out", tmp_path / "out")
    assert isinstance(result.exception, UnknownNameError)
    assert "bundled are" in str(result.exception)
    assert not (tmp_path / "out").exists()


def test_demo_without_examples(tmp_path: Path, weights: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(unbraid, "__file__", str(tmp_path / "a" / "b" / "__init__.py"))
    result = run(demo, "--out", tmp_path / "out", "--name", weights)
    assert isinstance(result.exception, DataError)
    assert "not installed" in str(result.exception)


def test_demo_with_a_model_of_three(tmp_path: Path):
    model = build_model("s4m-tiny", **SIZES, sources=("a", "b", "c"))
    result = run(demo, "--out", tmp_path, "--name", unbraid.save_model(model, tmp_path / "three.safetensors"))
    assert isinstance(result.exception, ConfigError)
    assert "a, b, c" in str(result.exception)


def test_demo_finds_packaged_examples(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    package = tmp_path / "site" / "unbraid"
    (package / "examples" / "one").mkdir(parents=True)
    (package / "examples" / "one" / "mixture.flac").touch()
    monkeypatch.setattr(unbraid, "__file__", str(package / "__init__.py"))
    assert find_examples() == package / "examples"

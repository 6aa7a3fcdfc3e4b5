from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import soundfile
from typer.testing import CliRunner

import unbraid
from tests.conftest import PATIENCE_SECONDS
from unbraid.cli.main import app
from unbraid.models.catalog import build_model
from unbraid.weights.store import save_model


@dataclass
class Outcome:
    code: int
    out: str
    err: str

    @property
    def errors(self) -> list[str]:
        """The sentences on stderr that are errors."""
        return [line.removeprefix("error: ") for line in self.err.splitlines() if line.startswith("error: ")]

    @property
    def warnings(self) -> list[str]:
        return [line.removeprefix("warning: ") for line in self.err.splitlines() if line.startswith("warning: ")]


@pytest.fixture(scope="session")
def tiny(tmp_path_factory) -> str:
    """A weights file of a model small enough to separate a second in milliseconds."""
    model = build_model("s4m-tiny", kernel_ms=8.0, num_rounds=1, depth=2, hidden_dim=16, bottleneck_dim=8)
    return str(save_model(model, tmp_path_factory.mktemp("model") / "tiny.safetensors"))


@pytest.fixture
def run(monkeypatch) -> Callable[..., Outcome]:
    """Runs the command line inside this process, without the settings of whoever runs the tests."""
    monkeypatch.setenv("UNBRAID_CONFIG", os.devnull)

    def call(*arguments: str | Path) -> Outcome:
        result = CliRunner().invoke(app, [str(argument) for argument in arguments])
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return Outcome(result.exit_code, result.stdout, result.stderr)

    return call


@pytest.fixture
def separate(run, tiny, tmp_path, monkeypatch) -> Callable[..., Outcome]:
    """`unbraid separate` with the tiny model, in a folder of its own."""
    monkeypatch.chdir(tmp_path)
    return lambda *arguments: run("separate", "-n", tiny, "-d", "cpu", *arguments)


@pytest.fixture
def command() -> Callable[..., list[str]]:
    """The command line as a process of its own."""
    return lambda *arguments: [sys.executable, "-m", "unbraid.cli.main", *map(str, arguments)]


@pytest.fixture
def process(command) -> Callable[..., subprocess.CompletedProcess]:
    def call(*arguments: str | Path, **settings) -> subprocess.CompletedProcess:
        return subprocess.run(
            command(*arguments), capture_output=True, env=environment(), timeout=PATIENCE_SECONDS, **settings
        )

    return call


def hear_ctrl_c() -> None:
    """For `preexec_fn`: whoever runs the tests in the background has their children inherit that Ctrl-C is ignored."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


def environment() -> dict[str, str]:
    source = str(Path(unbraid.__file__).parents[1])
    return os.environ | {"PYTHONPATH": source, "OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"}


@pytest.fixture
def talk(tmp_path) -> Callable[..., Path]:
    """Writes noise as a recording below the folder of the test."""

    def write(
        name: str = "talk.wav",
        seconds: float = 0.5,
        *,
        rate: int = 16_000,
        channels: int = 1,
        subtype: str | None = None,
    ) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        samples = np.random.default_rng(0).uniform(-0.3, 0.3, (round(seconds * rate), channels))
        soundfile.write(path, samples, rate, subtype)
        return path

    return write


def tree(folder: Path) -> set[str]:
    """All files below a folder, hidden ones too, as relative paths."""
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}

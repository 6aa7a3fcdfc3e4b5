"""Every code block of README and docs does what it says."""

import contextlib
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
import typer
from typer.testing import CliRunner

from tests.audio.test_video_out import write_film
from tests.conftest import TINY
from tests.data.builders import write_song
from unbraid.cli.main import app
from unbraid.models.catalog import build_model
from unbraid.weights.store import save_model

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "examples" / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def blocks(language):
    for page in PAGES:
        for index, code in enumerate(re.findall(rf"^```{language}\n(.*?)^```", page.read_text(), re.M | re.S)):
            yield pytest.param(page, code, id=f"{page.relative_to(ROOT)}-{index}")


def shell_lines():
    """Each command once, without its comment."""
    found = {}
    for param in blocks("bash"):
        page, code = param.values
        for line in code.splitlines():
            command = line.split("  #")[0].strip()
            if "unbraid " in command:
                found.setdefault(command, page.name)
    return [pytest.param(command, id=f"{page}: {command}") for command, page in found.items()]


@pytest.fixture(scope="session")
def made(tmp_path_factory):
    """A folder as a reader of the docs may have it: talks, films, songs to train on, runs of tiny models, scores."""
    root = tmp_path_factory.mktemp("reader")
    talk = soundfile.read(ROOT / "examples" / "two-speakers-1" / "mixture.flac")[0][:24_000]
    for name in ("talk.wav", "talk.mp3", "song.mp3", "film.wav", "interviews/one.wav", "scenes/0003/mixture.wav"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(root / name, talk, 16_000)
    soundfile.write(root / "song.wav", np.stack([talk, talk[::-1]], axis=1), 16_000)
    write_film(root / "film.mp4", seconds=2.0)
    for split in ("train", "valid", "test"):
        write_song(root / "songs" / split / f"{split} song")
    (root / "talk.raw").write_bytes((talk * 32_767).astype("<i2").tobytes())
    shutil.copytree(root / "songs", root / "musdb18hq")
    write_song(root / "separated" / "htdemucs" / "test song", mixture=False)
    shutil.copytree(ROOT / "examples", root / "examples")
    speakers, stems = build_model("s4m-tiny", **TINY["s4m-tiny"]), build_model("sfc-ca-small", **TINY["sfc-ca-small"])
    for path, model in {"speech/best": speakers, "mine/best": stems, "sfc/average": stems}.items():
        (root / "runs" / path).parent.mkdir(parents=True, exist_ok=True)
        save_model(model, root / "runs" / f"{path}.safetensors")
    scores = run(["unbraid", "evaluate", "runs/speech/best.safetensors", "examples", "--json", "before.json"], root)
    assert scores.exit_code == 0, scores.output
    for name in ("after", "main", "branch", "strided", "strided-sr"):
        shutil.copy(root / "before.json", root / f"{name}.json")
    return root


@pytest.fixture
def place(made, tmp_path):
    shutil.copytree(made, tmp_path, dirs_exist_ok=True)
    return tmp_path


def run(words, place):
    """The command in this process; a process of its own takes seconds to import torch."""
    with contextlib.chdir(place):
        return CliRunner().invoke(app, words[1:])


@pytest.mark.parametrize(
    "page", [page for page in PAGES if "```python" in page.read_text()], ids=lambda page: page.name
)
def test_each_page_runs_in_python(page, place):
    """The blocks of one page follow each other in one program."""
    parts = re.findall(r"^```python\n(.*?)^```", page.read_text(), re.M | re.S)
    with contextlib.chdir(place):
        exec(compile("\n".join(parts), page.name, "exec"), {"__name__": "__main__"})


NEEDS = re.compile(
    r"unbraid serve|corpus|CORPUS|--list \S|prepare (midi|mixtures|corpus [^-])|theirs\.safetensors|runs/(all|strided)"
    r"|-n (hf:|htdemucs|folder|pymss:|bs-roformer:)|models (download|where|remove|push)| dnr_v2 "
    r"|htdemucs_ft|s3://|prepare lmms |--to onnx|--to torch-export|--backend onnxruntime"
)
"""What needs a corpus, DnR, other people's weights, a run that takes hours or an export of a large model, which
tests/weights has of a small one; the options are parsed."""


def shown_settings(words):
    """In the place of a training that takes hours: what it would be, by the same recipe and settings."""
    kept, words = words[:3], words[3:]
    while words:
        if words[0] == "--set":
            kept += words[:2]
        words = words[1:]
    return [*kept, "--settings"]


@pytest.mark.parametrize("command", shell_lines())
def test_commands_work(command, place):
    """What needs minutes of a CPU, or data that is not here, is run as far as it can be."""
    # A bar within quotes is no pipe.
    *before, words = [shlex.split(part) for part in re.split(r'\|(?=(?:[^"]*"[^"]*")*[^"]*$)', command)]
    parse(words)
    if before:
        # A pipe is the shell's, and takes a process of its own.
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        done = subprocess.run(command, shell=True, cwd=place, env=os.environ | {"PATH": path}, capture_output=True)
        assert done.returncode == 0, done.stderr
        return
    # Each process imports torch and loads the model, for a recording of a second and a half.
    words = [word.replace("cpu:4", "cpu:2") for word in words]
    if words[1] == "train" and not {"--smoke", "--list", "--settings"} & set(words):
        words = shown_settings(words)
    elif NEEDS.search(command):
        return
    done = run(words, place)
    assert done.exit_code == 0, f"{done.output}\n{done.exception!r}"


def quoted_commands():
    """Commands in tables and sentences, which are parsed only."""
    pages = [ROOT / "README.md", ROOT / "docs" / "coming-from.md"]
    found = sorted({one for page in pages for one in re.findall(r"`(unbraid [^`]+)`", page.read_text())})
    return [one for one in found if not one.endswith("...")]


@pytest.mark.parametrize("command", quoted_commands())
def test_quoted_commands_exist(command):
    parse(shlex.split(command))


def parse(words):
    assert words[0] == "unbraid"
    parser, arguments = typer.main.get_command(app), words[1:]
    while hasattr(parser, "commands"):
        name, *arguments = arguments
        parser = parser.commands[name]
    assert parser.make_context(name, arguments, resilient_parsing=True).args == []


def test_what_is_only_parsed_is_little():
    """A pattern that caught too much would leave the docs untested."""
    lines = [param.values[0] for param in shell_lines()]
    parsed = [line for line in lines if NEEDS.search(line) and " train " not in line and "|" not in line]
    assert len(parsed) < len(lines) / 4, parsed


def test_links_between_pages_lead_somewhere():
    for page in PAGES:
        for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"

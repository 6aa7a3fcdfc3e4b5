"""Every code block of README and docs does what it says."""

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

from tests.data.builders import sweep, write_mp4, write_song
from unbraid.cli.main import app
from unbraid.weights.store import bundled_models

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


@pytest.fixture
def place(tmp_path):
    """A folder as a reader of the docs may have it: a talk, a folder of interviews, an MP3, songs to train on."""
    rng = np.random.default_rng(0)
    talk = 0.05 * rng.standard_normal(24_000)
    soundfile.write(tmp_path / "talk.wav", talk, 16_000)
    write_mp4(tmp_path / "film.mp4", [sweep(0, seconds=2.0)])
    soundfile.write(tmp_path / "talk.mp3", talk, 16_000)
    soundfile.write(tmp_path / "film.wav", talk, 16_000)
    for split in ("train", "valid", "test"):
        write_song(tmp_path / "songs" / split / f"{split} song")
    for path in ("interviews/one.wav", "scenes/0003/mixture.wav"):
        (tmp_path / path).parent.mkdir(parents=True)
        soundfile.write(tmp_path / path, talk, 16_000)
    shutil.copytree(ROOT / "examples", tmp_path / "examples")
    return tmp_path


def run(command, place):
    environment = os.environ | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    return subprocess.run(
        command, shell=isinstance(command, str), cwd=place, env=environment, capture_output=True, text=True, timeout=120
    )


def test_each_page_runs_in_python(place):
    """The blocks of one page follow each other in one program."""
    assert "speech" in bundled_models()
    pages: dict[Path, list[str]] = {}
    for param in blocks("python"):
        page, code = param.values
        pages.setdefault(page, []).append(code)
    assert len(pages) >= 2
    for page, parts in pages.items():
        done = run([sys.executable, "-c", "\n".join(parts)], place)
        assert done.returncode == 0, f"{page.name}: {done.stderr}"


@pytest.mark.parametrize("command", shell_lines())
def test_commands_work(command, place):
    """What separates or shows is run; what takes hours or a corpus is parsed."""
    first = shlex.split(command.split("|")[-1])
    assert first[0] == "unbraid"
    needs_more = first[1] in ("train", "evaluate", "compare", "profile", "demo") or ".safetensors" in command
    needs_more = needs_more and not re.match(r"unbraid evaluate (speech examples|--list)", command)
    needs_more = needs_more or re.search("prepare (midi|mixtures|corpus [^-])", command) is not None
    if not needs_more:
        done = run(command, place)
        assert done.returncode == 0, done.stderr
        return
    parser, arguments = typer.main.get_command(app), first[1:]
    while hasattr(parser, "commands"):
        name, *arguments = arguments
        parser = parser.commands[name]
    assert parser.make_context(name, arguments, resilient_parsing=True).args == []


def test_links_between_pages_lead_somewhere():
    for page in PAGES:
        for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"

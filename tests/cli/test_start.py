"""The command line comes up at once, and says what it can do."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import get_args, get_type_hints

import pytest
import typer

import unbraid
from tests.cli.conftest import environment
from unbraid.cli.commands import COMMANDS
from unbraid.cli.main import app
from unbraid.cli.separate import separate

LISTED = ["unbraid.cli.separate", "unbraid.cli.models", "rich.markdown", "rich.traceback", "markdown_it", "pygments"]
EXAMPLES = Path(__file__).parents[2] / "examples"
HEAVY = ("torch", "numpy", "scipy", "einops", "soundfile", "av", "soxr", "safetensors", "jaxtyping", "lightning")
"""What takes longer to import than help may take to come up."""


@pytest.mark.parametrize("arguments", ["--help", "--version", "separate --help", "models --help"])
def test_help_imports_nothing_heavy(arguments):
    program = (
        "import sys\n"
        "from unbraid.cli.main import main\n"
        f"sys.argv = ['unbraid', *{arguments.split()!r}]\n"
        "try:\n    main()\n"
        f"finally:\n    print([name for name in {HEAVY!r} if name in sys.modules], file=sys.stderr)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=environment())
    assert done.returncode == 0
    assert done.stderr.strip() == "[]"


def test_help_imports_no_command_and_formats_no_markdown():
    program = (
        "import sys\n"
        "from unbraid.cli.main import main\n"
        "sys.argv = ['unbraid', '--help']\n"
        "try:\n    main()\n"
        f"finally:\n    print([name for name in {LISTED!r} if name in sys.modules], file=sys.stderr)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=environment())
    assert (done.returncode, done.stderr.strip()) == (0, "[]")


def test_what_help_lists_is_what_the_commands_say_of_themselves():
    group = typer.main.get_command(app)
    assert list(group.commands) == list(COMMANDS)
    for name, command in group.commands.items():
        assert command.name == name
        assert " ".join(command.help.split("\n\n")[0].split()) == COMMANDS[name].summary


def test_the_formatter_has_its_parts_where_it_needs_them():
    """They are stood in for while it is imported; what is made of them is the real thing."""
    program = (
        "import sys\n"
        "from unbraid.cli.commands import import_help_formatter\n"
        "import_help_formatter()\n"
        "from typer import rich_utils\n"
        "made = rich_utils.Markdown('*text*')\n"
        "from rich.markdown import Markdown\n"
        "print(type(made) is Markdown)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=environment())
    assert done.stdout == "True\n", done.stderr


@pytest.mark.parametrize(
    ("program", "absent"),
    [
        ("import unbraid", HEAVY),
        ("import unbraid; unbraid.Separator, unbraid.build_model", ("torch._dynamo", "scipy", "sympy", "lightning")),
        (
            "import numpy as np, unbraid\n"
            "unbraid.Separator('speech', device='cpu').separate(np.ones((1, 99), np.float32), 16_000)",
            ("torch._dynamo", "torch._inductor", "torch.distributed.fsdp", "sympy", "scipy", "lightning", "av"),
        ),
    ],
    ids=["the package", "its names", "the first chunk"],
)
def test_what_is_not_used_is_not_imported(program, absent):
    """The compiler of PyTorch alone takes as long to import as the rest of it."""
    program += f"\nimport sys\nprint([name for name in {absent!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=environment())
    assert done.stdout == "[]\n", done.stderr


def test_who_separates_a_recording_does_not_wait_for_scipy(tmp_path):
    """All of `scipy.signal` takes as long to import as PyTorch."""
    mixture = EXAMPLES / "two-speakers-1" / "mixture.flac"
    command = [sys.executable, "-X", "importtime", "-m", "unbraid", "separate", mixture, "-n", "speech", "-o", tmp_path]
    done = subprocess.run(command, capture_output=True, text=True, env=environment())
    assert (tmp_path / "speech" / "mixture" / "speaker2.wav").is_file(), done.stderr
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines() if line.startswith("import time:")}
    assert "torch" in imported
    assert not {name for name in imported if name.split(".")[0] in ("scipy", "lightning", "sympy")}


def test_version(run):
    assert run("--version").out == f"unbraid {unbraid.__version__}\n"


def test_the_package_runs_as_a_module():
    done = subprocess.run(
        [sys.executable, "-m", "unbraid", "--version"], capture_output=True, text=True, env=environment()
    )
    assert done.stdout == f"unbraid {unbraid.__version__}\n"


@pytest.mark.parametrize(
    "command",
    ["separate", "profile", "train", "doctor", "models list", "models show", "models export", "models import", ""],
)
def test_every_command_teaches(run, command):
    shown = run(*command.split(), "--help").out
    assert "Examples" in shown
    assert f"unbraid {command}".strip() in shown.split("Examples")[1]


def test_choices_are_those_of_the_library():
    from unbraid.output.config import ClipMode
    from unbraid.separation.config import Backend, Consistency, OtherMethod, Precision, Tracking
    from unbraid.signal.chunking import Join

    hints = get_type_hints(separate)
    assert get_args(hints["backend"]) == get_args(Backend)
    assert get_args(hints["clip_mode"]) == get_args(ClipMode)
    assert get_args(hints["consistency"]) == get_args(Consistency)
    assert get_args(hints["other_method"]) == get_args(OtherMethod)
    assert get_args(hints["precision"]) == get_args(Precision)
    assert get_args(hints["tracking"]) == get_args(Tracking)
    assert get_args(hints["join"]) == get_args(Join)


def test_unknown_commands_and_options_are_usage_errors(run):
    assert run("unite").code == 2
    assert run("separate", "--fast").code == 2


def test_the_process_is_tuned_before_torch_is_there():
    program = (
        "import os, sys\n"
        "from unbraid.cli import main\n"
        "main.app = lambda **_: print(os.environ['OMP_WAIT_POLICY'], 'torch' in sys.modules)\n"
        "main.main()\n"
    )
    variables = {key: value for key, value in environment().items() if key != "OMP_WAIT_POLICY"}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=variables)
    assert done.stdout.split() == ["PASSIVE", "False"]


@pytest.mark.parametrize("module", ["typer", "torch", "numpy"])
def test_ctrl_c_while_the_command_is_imported(module, tmp_path):
    """The signal comes in the middle of an import: one line, and the status of an interruption."""
    program = (
        "import os, signal, sys\n"
        "class Finder:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        f"        if name == {module!r}:\n"
        "            os.kill(os.getpid(), signal.SIGINT)\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "sys.meta_path.insert(0, Finder())\n"
        "sys.argv = ['unbraid', 'separate', 'none.wav', '-o', 'out']\n"
        "from unbraid.cli.start import main\n"
        "main()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, env=environment(), cwd=tmp_path
    )
    assert (done.returncode, len(done.stderr.splitlines())) == (130, 1), done.stderr
    assert done.stderr.startswith("interrupted; ")


@pytest.mark.parametrize(
    "arguments",
    [
        ("compare", "a.json", "b.json", "--threshold", "nan"),
        ("models", "show", "speech", "--attention", "none.wav", "--seconds", "inf"),
        ("separate", "none.wav", "--segment", "nan"),
        ("separate", "none.wav", "--overlap", "inf"),
        ("separate", "none.wav", "--shard", f"{'9' * 5000}/1"),
        ("models", "import", "m.safetensors", "--preset", "mtfa", "-o", "o.safetensors"),
    ],
)
def test_numbers_and_presets_that_cannot_be(run, arguments, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = run(*arguments)
    assert done.code in (1, 2)
    assert done.err.startswith("error: ")
    assert len(done.err.splitlines()) == 1


@pytest.mark.parametrize("name", ["talk.wav", "recordings"])
def test_a_recording_without_a_command_is_told_it(name, run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "recordings").mkdir()
    done = run(name)
    assert done.code == 2
    assert f"'{name}' is no command; to separate it: unbraid separate {name}" in " ".join(done.err.split())


def test_a_misspelt_choice_is_answered_with_those_that_are(run):
    done = run("separate", "talk.wav", "--consistency", "nonee")
    assert done.code == 2
    said = " ".join(done.err.replace("│", "").split())
    assert "Invalid value for '--consistency': 'nonee' is not one of 'none', 'residual', 'distribute'." in said

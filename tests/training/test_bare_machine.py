"""Training on a machine that has PyTorch and Lightning and next to nothing else."""

import json
import os
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

from unbraid.data.prepare.pack import prepare_pack

SCRIPT = Path(__file__).parents[2] / "examples" / "train_on_gpu.py"

ABSENT = ("av", "soxr", "soundfile", "pydantic", "safetensors", "tensorboard")


def run_without(script, *arguments, absent=ABSENT):
    """Runs a script in a process in which these packages are not there."""
    blocked = "".join(f"sys.modules[{name!r}] = None\n" for name in absent)
    return subprocess.run(
        [sys.executable, "-c", f"import sys\n{blocked}{script}", *map(str, arguments)],
        env=os.environ | {"PYTHONPATH": os.pathsep.join([str(Path(__file__).parents[2] / "src"), *sys.path])},
        capture_output=True,
        text=True,
        check=False,
    )


def test_what_trains_is_imported_without_what_reads_files():
    modules = ("unbraid.recipes", "unbraid.training.fit", "unbraid.cli.main", "unbraid.data.prepare.corpus")
    done = run_without(f"for name in {modules}: __import__(name)")
    assert done.returncode == 0, done.stderr


def test_a_package_that_is_not_there_is_named_when_it_is_needed():
    script = (
        "import numpy\nfrom unbraid.audio.rate import resample\nfrom unbraid.errors import UnbraidError\n"
        "try: resample(numpy.zeros((1, 8), numpy.float32), 8000, 16000)\n"
        "except UnbraidError as error: print(error)\n"
    )
    done = run_without(script, absent=(*ABSENT, "scipy"))
    assert done.stdout.splitlines() == ["the package 'soxr' is not installed: pip install soxr"]


@pytest.mark.parametrize("recipe", ["speech", "speech-noisy", "cinematic", "music"])
def test_the_script_for_a_gpu_has_settings_for_every_bundled_recipe(recipe):
    config = runpy.run_path(str(SCRIPT))["for_gpu"](recipe, 4000, 64)
    assert (config.resident, config.compile, config.precision, config.batch_size) == (True, True, "bf16-mixed", 64)
    short = runpy.run_path(str(SCRIPT))["for_gpu"](recipe, 4, 64)
    assert short.validation.every == 1


@pytest.mark.slow
def test_the_script_for_a_gpu_is_rehearsed_on_a_cpu(corpus_root, tmp_path):
    """Four steps and two more, from a pack, without what a bare machine lacks; soundfile is carried as a wheel."""
    list(prepare_pack(corpus_root, tmp_path / "pack", sample_rate=16_000, megabytes=2.0))
    script = f"import runpy; sys.argv[0] = {str(SCRIPT)!r}; runpy.run_path(sys.argv[0], run_name='__main__')"
    arguments = ["speech", tmp_path / "pack", tmp_path / "run", "--batch", "2", "--rehearse"]
    for steps in (4, 6):
        done = run_without(script, *arguments, "--steps", steps, absent=("av", "soxr", "tensorboard"))
        assert done.returncode == 0, done.stderr
    assert json.loads((tmp_path / "run/config.json").read_text())["resident"]
    assert (tmp_path / "run/best.safetensors").is_file()
    assert sum(path.stat().st_size for path in (tmp_path / "run").rglob("*") if path.is_file()) < 16e6

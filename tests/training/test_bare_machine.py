"""Training on a machine that has PyTorch and Lightning and next to nothing else."""

import os
import subprocess
import sys
from pathlib import Path

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
        "from unbraid.signal.lengths import fast_fft_length\nprint([fast_fft_length(n) for n in (1, 2, 3, 1000)])\n"
    )
    done = run_without(script, absent=(*ABSENT, "scipy"))
    assert done.stdout.splitlines() == ["the package 'soxr' is not installed: pip install soxr", "[2, 2, 4, 1024]"]

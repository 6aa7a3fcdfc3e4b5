"""How long does it take to start: help, import, and the first chunk of a bundled model?

Each in fresh processes, taken in turn; the median. CPU seconds count first: by the clock, a busy machine takes longer.
"""

import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

from benchmarks import machine

RECORDING = Path(__file__).parents[2] / "examples" / "two-speakers-1" / "mixture.flac"
FIRST = (
    "import numpy as np, unbraid\n"
    "unbraid.Separator({name!r}, device='cpu').separate(0.1 * np.ones(({channels}, {rate}), np.float32), {rate})"
)
WHOLE = (
    "import sys, tempfile\n"
    "from unbraid.cli.start import main\n"
    "with tempfile.TemporaryDirectory() as folder:\n"
    f"    sys.argv = ['unbraid', 'separate', {str(RECORDING)!r}, '-n', 'speech', '-o', folder, '--quiet']\n"
    "    main()"
)
PROGRAMS = {
    "Python itself": "pass",
    "import unbraid": "import unbraid",
    "unbraid --help": "import sys; from unbraid.cli.start import main; sys.argv = ['unbraid', '--help']; main()",
    "import torch": "import torch",
    "speech, first second of audio": FIRST.format(name="speech", channels=1, rate=16_000),
    "unbraid separate, 6.6 s by speech": WHOLE,
    "cinematic, first second of audio": FIRST.format(name="cinematic", channels=1, rate=44_100),
    "music, first second of audio": FIRST.format(name="music", channels=2, rate=44_100),
}


def seconds(program: str) -> tuple[float, float]:
    """CPU and wall seconds of a process."""
    before, began = os.times(), time.perf_counter()
    subprocess.run([sys.executable, "-c", program], check=True, stdout=subprocess.DEVNULL)
    after, wall = os.times(), time.perf_counter() - began
    used = after.children_user + after.children_system - before.children_user - before.children_system
    return used, wall


def run(repeats: int = 3) -> None:
    taken: dict[str, list[tuple[float, float]]] = {name: [] for name in PROGRAMS}
    for _ in range(repeats):
        for name, program in PROGRAMS.items():
            taken[name].append(seconds(program))
    print("| what | CPU seconds | by the clock |\n|---|---|---|")
    for name, times in taken.items():
        cpu, wall = (statistics.median(column) for column in zip(*times, strict=True))
        print(f"| {name} | {cpu:.2f} | {wall:.2f} |")


if __name__ == "__main__":
    print(machine.describe())
    run()

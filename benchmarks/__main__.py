"""Runs the benchmarks that need no corpus, one after the other:  python -m benchmarks"""

from unbraid.separation.process import tune_process

tune_process()

from benchmarks import machine  # noqa: E402
from benchmarks.engine import install, memory, seams  # noqa: E402
from benchmarks.networks import compression, mtfa, own_gradients, scan, speed, super_resolution  # noqa: E402
from benchmarks.training import trainer  # noqa: E402

print(machine.describe())
for benchmark in (install, seams, speed, super_resolution, compression, mtfa, scan, memory, trainer, own_gradients):
    print(f"\n{benchmark.__doc__.splitlines()[0]}\n")
    benchmark.run()

"""Runs the benchmarks that need no corpus, one after the other:  python -m benchmarks"""

from unbraid.inference.process import tune_process

tune_process()

from benchmarks import compression, install, machine, memory, scan, seams, speed, super_resolution, trainer  # noqa: E402

print(machine.describe())
for benchmark in (install, seams, speed, super_resolution, compression, scan, memory, trainer):
    print(f"\n{benchmark.__doc__.splitlines()[0]}\n")
    benchmark.run()

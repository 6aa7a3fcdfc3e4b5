"""Runs the benchmarks that need no corpus, one after the other:  python -m benchmarks"""

from unbraid.separation.process import tune_process

tune_process()

from benchmarks import (  # noqa: E402
    compression,
    install,
    machine,
    memory,
    mtfa,
    own_gradients,
    scan,
    seams,
    speed,
    super_resolution,
    trainer,
)

print(machine.describe())
for benchmark in (install, seams, speed, super_resolution, compression, mtfa, scan, memory, trainer, own_gradients):
    print(f"\n{benchmark.__doc__.splitlines()[0]}\n")
    benchmark.run()

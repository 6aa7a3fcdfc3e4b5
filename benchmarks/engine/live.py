"""How late live separation is, on one core: time per block and real-time factor, and memory over an hour.

    python -m benchmarks.engine.live           block sizes, threads, bfloat16, rounds, with random weights
    python -m benchmarks.engine.live --hour    an hour in pieces of up to two seconds, and the memory

Times are of the processor and of the wall clock; on a machine with other work only the former say what a core can do.
Every row is the best of three, taken in turn.
"""

import argparse
import resource
import time
from pathlib import Path

import numpy as np
import torch

from benchmarks import machine
from unbraid.models.catalog import build_model
from unbraid.models.contract import SeparationModel
from unbraid.weights.store import load_model

BLOCK_MS = (5, 10, 16, 20, 40, 80, 160)
REPEATS = 3


def time_blocks(
    model: SeparationModel, block_ms: float, seconds: float, dtype: torch.dtype
) -> tuple[np.ndarray, float]:
    """Wall milliseconds of every block, and processor seconds per second of sound."""
    size = round(block_ms / 1000 * model.spec.sample_rate)
    noise = 0.1 * torch.randn(1, 1, size)
    session = model.open_session()
    with torch.autocast("cpu", dtype, enabled=dtype != torch.float32):
        for _ in range(30):
            session.push(noise)
        walls, begun = [], time.process_time()
        for _ in range(round(1000 * seconds / block_ms)):
            start = time.perf_counter()
            session.push(noise)
            walls.append(1000 * (time.perf_counter() - start))
    return np.array(walls), (time.process_time() - begun) / seconds


def print_blocks(model: SeparationModel, seconds: float) -> None:
    print(
        "| block | variant | CPU s per s | wall s per s | median ms | 95 % | 99 % | longest | longer than the block |"
    )
    print("|---|---|---|---|---|---|---|---|---|")
    plain: tuple[SeparationModel, int, torch.dtype] = (model, 1, torch.float32)
    rows = {(block_ms, ""): plain for block_ms in BLOCK_MS}
    rows[20, "three rounds"] = (build_model("s4m-live", num_rounds=3), 1, torch.float32)
    rows[20, "two threads"] = (model, 2, torch.float32)
    rows[20, "bfloat16"] = (model, 1, torch.bfloat16)
    found: dict[tuple[int, str], list[tuple[float, np.ndarray]]] = {row: [] for row in rows}
    for _ in range(REPEATS):
        for (block_ms, variant), (network, threads, dtype) in rows.items():
            torch.set_num_threads(threads)
            walls, processor = time_blocks(network, block_ms, seconds, dtype)
            found[block_ms, variant].append((processor, walls))
    torch.set_num_threads(1)
    for (block_ms, variant), repeats in found.items():
        processor, walls = min(repeats, key=lambda repeat: repeat[0])
        percentiles = " | ".join(f"{value:.1f}" for value in np.percentile(walls, (50, 95, 99, 100)))
        factor, late = np.mean(walls) / block_ms, 100 * np.mean(walls > block_ms)
        print(f"| {block_ms} ms | {variant} | {processor:.2f} | {factor:.2f} | {percentiles} | {late:.1f} % |")


def resident_mib() -> float:
    status = Path("/proc/self/status")
    if status.exists():
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmRSS"))
        return int(line.split()[1]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def print_hour(model: SeparationModel, minutes: int) -> None:
    rate, session = model.spec.sample_rate, model.open_session()
    noise = 0.1 * torch.randn(1, 1, 2 * rate)
    print("| minutes heard | resident MiB | numbers kept |\n|---|---|---|")
    for minute in range(minutes + 1):
        if minute % max(1, minutes // 6) == 0:
            print(f"| {minute} | {resident_mib():.1f} | {getattr(session, 'num_values', 0):,} |", flush=True)
        heard = 0
        while minute < minutes and heard < 60 * rate:
            size = min(int(torch.randint(1, 2 * rate, ())), 60 * rate - heard)
            session.push(noise[..., :size])
            heard += size


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", help="weights; by default the preset s4m-live with random ones")
    parser.add_argument("--seconds", type=float, default=5, help="of sound for every row")
    parser.add_argument("--hour", action="store_true")
    parser.add_argument("--minutes", type=int, default=60, help="of --hour")
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    model = load_model(options.model) if options.model else build_model("s4m-live")
    print(machine.describe())
    latency = model.spec.latency_samples
    assert latency is not None, "the model hears the whole"
    print(f"latency {latency} samples, {1000 * latency / model.spec.sample_rate:.1f} ms\n")
    with torch.inference_mode():
        if options.hour:
            print_hour(model, options.minutes)
        else:
            print_blocks(model, options.seconds)


if __name__ == "__main__":
    main()

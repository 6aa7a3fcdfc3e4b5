"""S4M-tiny's multiplications as a share of SepFormer's, which the paper gives as 9.2 %: by our counter, at both rates.

python -m benchmarks.networks.published_macs

On one second, everything counted once that `unbraid profile` counts: linear maps, convolutions, attention's products.
"""

from __future__ import annotations

import torch

from unbraid.inspection.profile import count_macs
from unbraid.models.catalog import build_model

QUOTED = 86.9
"""Billions a second, which is quoted for SepFormer in tables beside S4M's relatives."""


def macs_of(preset: str, sample_rate: int) -> float:
    """Billions for one second of sound."""
    model = build_model(preset, sample_rate=sample_rate)
    return count_macs(model, torch.zeros(1, 1, sample_rate))[""] / 1e9


def run() -> None:
    print("| rate, Hz | S4M-tiny, GMAC/s | SepFormer, GMAC/s | share |\n|---|---|---|---|")
    for rate in (8000, 16_000):
        ours, theirs = macs_of("s4m-tiny", rate), macs_of("sepformer", rate)
        print(f"| {rate:,} | {ours:.2f} | {theirs:.1f} | {ours / theirs:.1%} |")
    print(f"| quoted | | {QUOTED} | {ours / QUOTED:.1%} |")


if __name__ == "__main__":
    torch.set_num_threads(1)
    run()

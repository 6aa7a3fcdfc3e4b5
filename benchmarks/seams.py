"""What is left of errors at chunk edges? A model wrong in the outer 50 ms of each chunk: its worst 20 ms window."""

import numpy as np
import torch

from unbraid import Separator
from unbraid.models.contract import ModelSpec, SeparationModel


class WrongAtEdges(SeparationModel):
    """Gives half of the mixture twice, and full-scale noise in the outer 50 ms."""

    def __init__(self) -> None:
        super().__init__()
        self.spec = ModelSpec(
            sample_rate=16_000, num_channels=1, sources=("a", "b"), exchangeable=False, chunk_seconds=4.0
        )

    def forward(self, mixture):
        estimate = 0.5 * mixture.unsqueeze(1).repeat(1, 2, 1, 1)
        for edge in (slice(0, 800), slice(-800, None)):
            estimate[..., edge] = torch.randn_like(estimate[..., edge])
        return estimate


def worst_window_db(overlap: float) -> float:
    rate = 16_000
    mixture = (np.random.default_rng(0).standard_normal((1, 60 * rate + 77)) * 0.1).astype(np.float32)
    estimate = Separator(WrongAtEdges(), overlap=overlap).separate(mixture, rate)["a"].samples
    error = estimate - 0.5 * mixture
    power, wrong = (
        np.square(np.lib.stride_tricks.sliding_window_view(x[0], 320)[::80], dtype=np.float64).sum(-1)
        for x in (0.5 * mixture, error)
    )
    return float((10 * np.log10(power / np.maximum(wrong, 1e-30))).min())


def run() -> None:
    for overlap in (0.25, 0.1, 0.05):
        print(f"overlap {overlap:4.2f}: worst window {worst_window_db(overlap):6.1f} dB")


if __name__ == "__main__":
    run()

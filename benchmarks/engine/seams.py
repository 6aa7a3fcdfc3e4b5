"""What is left of errors at chunk edges? A model wrong in the outer 50 ms of each chunk: its worst 20 ms window.

Then the same by the ways of other packages, where these are installed: demucs.apply (overlap 0.25, its default) and
pymss.utils.demix (overlaps of a half, its default, and a quarter). The outer 0.4 s of the recording are not judged: no
other chunk helps there.
"""

from collections.abc import Callable
from importlib.util import find_spec

import numpy as np
import torch

from unbraid import Separator
from unbraid.models.contract import ModelSpec, SeparationModel

RATE = 16_000
CHUNK = 4 * RATE


class WrongAtEdges(SeparationModel):
    """Gives half of the mixture twice, and full-scale noise in the outer 50 ms."""

    def __init__(self) -> None:
        super().__init__()
        self.spec = ModelSpec(
            sample_rate=RATE, num_channels=1, sources=("a", "b"), exchangeable=False, chunk_seconds=4.0
        )

    def forward(self, mixture):
        estimate = 0.5 * mixture.unsqueeze(1).repeat(1, 2, 1, 1)
        for edge in (slice(0, 800), slice(-800, None)):
            estimate[..., edge] = torch.randn_like(estimate[..., edge])
        return estimate


def ours(overlap: float, mixture: np.ndarray) -> np.ndarray:
    return Separator(WrongAtEdges(), overlap=overlap).separate(mixture, RATE)["a"].samples


def by_demucs(overlap: float, mixture: np.ndarray) -> np.ndarray:
    from demucs.apply import apply_model

    model = WrongAtEdges()
    model.samplerate, model.segment, model.audio_channels, model.sources = RATE, 4.0, 1, ["a", "b"]
    model.valid_length = lambda length: max(length, CHUNK)
    with torch.inference_mode():
        return apply_model(model, torch.from_numpy(mixture)[None], shifts=0, split=True, overlap=overlap)[0, 0].numpy()


def by_pymss(overlap: float, mixture: np.ndarray) -> np.ndarray:
    from pymss.utils import demix
    from pymss_core import AttrDict

    settings = {
        "audio": {"chunk_size": CHUNK, "sample_rate": RATE, "num_channels": 1},
        "inference": {"batch_size": 1, "overlap_size": round(overlap * CHUNK), "use_amp": False},
        "training": {"instruments": ["a", "b"], "target_instrument": None, "use_amp": False},
    }
    found = demix(AttrDict(settings), WrongAtEdges(), mixture, torch.device("cpu"), model_type="bs_roformer")
    return np.asarray(found["a"])


def worst_window_db(way: Callable[[float, np.ndarray], np.ndarray], overlap: float) -> float:
    mixture = (np.random.default_rng(0).standard_normal((1, 60 * RATE + 77)) * 0.1).astype(np.float32)
    error = way(overlap, mixture) - 0.5 * mixture
    power, wrong = (
        np.square(np.lib.stride_tricks.sliding_window_view(x[0], 320)[::80], dtype=np.float64).sum(-1)
        for x in (0.5 * mixture, error)
    )
    return float((10 * np.log10(power / np.maximum(wrong, 1e-30)))[80:-80].min())


def run() -> None:
    ways = [("ours", ours, overlap) for overlap in (0.25, 0.1, 0.05)]
    if find_spec("demucs"):
        ways.append(("demucs", by_demucs, 0.25))
    if find_spec("pymss"):
        ways += [("pymss", by_pymss, overlap) for overlap in (0.5, 0.25)]
    for name, way, overlap in ways:
        print(f"{name:6} overlap {overlap:4.2f}: worst window {worst_window_db(way, overlap):6.1f} dB")


if __name__ == "__main__":
    run()

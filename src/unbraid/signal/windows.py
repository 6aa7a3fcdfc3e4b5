"""Tapers for frames and chunks, all periodic: sample i of a window of length n is its formula at i / n.

The periodic form (not the symmetric one of filter design) is what makes shifted copies add up to a constant.
"""

import math
from typing import Literal

import torch

from unbraid.axes import Float, Tensor
from unbraid.errors import ConfigError
from unbraid.options import check_option

WindowName = Literal["hann", "hamming", "sqrt_hann", "rectangular"]


def build_window(name: WindowName, num_samples: int) -> Float[Tensor, " sample"]:
    """The taper of that name in float32; "rectangular" is all ones."""
    check_option("window", name, WindowName)
    if num_samples < 1:
        raise ConfigError(f"A window of {num_samples} samples is empty: ask for at least 1.")
    # In float64, or the last samples of long windows (near 1e-7) lose their digits.
    phase = torch.arange(num_samples, dtype=torch.float64) * (2 * math.pi / num_samples)
    match name:
        case "hann":
            window = 0.5 - 0.5 * phase.cos()
        case "hamming":
            window = 0.54 - 0.46 * phase.cos()
        case "sqrt_hann":
            window = (phase / 2).sin()
        case "rectangular":
            window = torch.ones_like(phase)
    return window.float()


def hann(num_samples: int) -> Float[Tensor, " sample"]:
    """The periodic Hann window: 0 at the first sample, 1 in the middle."""
    return build_window("hann", num_samples)

"""From what a network says of every bin to the spectra of the sources.

| head | maps | estimate |
|---|---|---|
| decoupled | m, p, r, q | magnitude ReLU(sigmoid(m) \\|X\\| + q); phase of X turned by the angle of (tanh p, tanh r) |
| complex | re, im | the spectrum itself ("complex as channels") |
| magnitude | m | sigmoid(m) X: a mask, and the phase of the mixture |

"decoupled" is that of ResUNetDecouple+ (Q. Kong et al., 2021): a mask of at most one, a magnitude q beside it for bins
in which the source is stronger than the mixture, and a rotation. With sigmoid(m) = 1, q = 0 and r = 0 < p it gives the
mixture back.
"""

from __future__ import annotations

from typing import Literal

import torch

from unbraid.axes import Float, Tensor

Head = Literal["decoupled", "complex", "magnitude"]

_LEAST_RADIUS = 1e-10


def maps_per_target(head: Head) -> int:
    """Maps that a head needs for each source and channel."""
    return {"decoupled": 4, "complex": 2, "magnitude": 1}[head]


def neutral_maps(head: Head) -> tuple[float, ...]:
    """Maps of a network that knows nothing: half of the mixture in its own phase, or silence where there is no mask."""
    return {"decoupled": (0.0, 1.0, 0.0, 0.0), "complex": (0.0, 0.0), "magnitude": (0.0,)}[head]


def apply_head(
    head: Head,
    maps: Float[Tensor, "batch source channel map freq frame"],
    spectrum: Float[Tensor, "batch channel part freq frame"],
    least_power: float = 1e-10,
) -> Float[Tensor, "batch source channel part freq frame"]:
    """The estimates' spectra; bins of the mixture below `least_power` count as that strong."""
    if head == "complex":
        return maps
    if head == "magnitude":
        return maps.sigmoid() * spectrum.unsqueeze(1)
    mask, turn_real, turn_imag, direct = maps.unbind(dim=3)
    real, imag = spectrum.unsqueeze(1).unbind(dim=3)
    magnitude = (real.square() + imag.square()).clamp_min(least_power).sqrt()
    turn_real, turn_imag = turn_real.tanh(), turn_imag.tanh()
    # ONNX knows no hypot; the other has no gradient at zero, which nobody asks a program for.
    exported = torch.compiler.is_exporting()
    radius = (turn_real**2 + turn_imag**2).sqrt() if exported else torch.hypot(turn_real, turn_imag)
    radius = radius.clamp_min(_LEAST_RADIUS)
    gain = (mask.sigmoid() * magnitude + direct).relu() / (magnitude * radius)
    return torch.stack(
        [gain * (real * turn_real - imag * turn_imag), gain * (imag * turn_real + real * turn_imag)], dim=3
    )

"""Short filters over features that a norm has yet to scale, which need not be written for that; see `compiled`.

Between two products of matrices, S4M norms, filters, gates and shifts long sequences: a pass over memory for each of
these, and several for each norm's statistics. Here a sequence stays as the filter before has left it, with the scale
and offset that are due (`Mapped`); the next filter applies them as it reads, and counts its own output's moments as it
writes. Every function has its slow twin in operations on tensors beside it.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch.nn import functional as F
from torch.utils._python_dispatch import _get_current_dispatch_mode

from unbraid.axes import Float, Tensor
from unbraid.layers.convolution import multiply_add_resized
from unbraid.layers.kernels.compiled import call, library
from unbraid.layers.kernels.depthwise import depthwise_filter_reference
from unbraid.layers.kernels.moments import moments_reference
from unbraid.layers.kernels.onednn import onednn_takes

_NAME = "normed_filter"


@dataclass(frozen=True)
class Mapped:
    """A sequence that stands for  features * factor + summand  (resized to it by nearest frames), and then PReLU."""

    features: Float[Tensor, "batch frame dim"]
    factor: Float[Tensor, "batch coarse_frame dim"] | None = None
    summand: Float[Tensor, "batch coarse_frame dim"] | None = None
    slope: Float[Tensor, " 1"] | None = None


Moments = tuple[Float[Tensor, "batch 1 dim"], Float[Tensor, "batch 1 dim"]]
"""Mean and variance over frames."""


def takes(features: Tensor) -> bool:
    """Whether the library is there and this is for it: float32 on a CPU, without gradients, outside of any compiler,
    and where nobody counts or changes operations on tensors."""
    is_free = not torch.compiler.is_exporting() and _get_current_dispatch_mode() is None
    return is_free and onednn_takes(features) and library(_NAME) is not None


def filter_mapped(
    sequence: Mapped,
    filters: Float[Tensor, "filter dim tap"],
    biases: Float[Tensor, "filter dim"] | None = None,
    stride: int = 1,
) -> list[tuple[Float[Tensor, "batch out_frame dim"], Moments]]:
    """What each filter makes of the sequence, and its moments."""
    features, (count, _, num_taps) = sequence.features.contiguous(), filters.shape
    batch, num_frames, dim = features.shape
    out = features.new_empty(count, batch, -(-num_frames // stride), dim)
    mean, variance = (features.new_empty(count, batch, 1, dim) for _ in range(2))
    taps = filters.transpose(1, 2).contiguous()
    mapped, coarse = _mapped(sequence)
    tensors = [features, *mapped, taps, biases, out, mean, variance]
    call(_NAME, "filter_mapped", tensors, batch, num_frames, coarse, dim, count, num_taps, stride)
    return [(out[place], (mean[place], variance[place])) for place in range(count)]


def filter_mapped_reference(
    sequence: Mapped, filters: Tensor, biases: Tensor | None = None, stride: int = 1
) -> list[tuple[Tensor, Moments]]:
    features, found = write_mapped_reference(sequence), []
    for place, weight in enumerate(filters):
        out = depthwise_filter_reference(features, weight, None if biases is None else biases[place], stride)
        found.append((out, moments_reference(out, dim=(1,))))
    return found


def write_mapped(sequence: Mapped) -> Float[Tensor, "batch frame dim"]:
    """What the sequence stands for."""
    features = sequence.features.contiguous()
    mapped, coarse = _mapped(sequence)
    out = torch.empty_like(features)
    call(_NAME, "write_mapped", [features, *mapped, out], *_sizes(features, coarse))
    return out


def write_mapped_reference(sequence: Mapped) -> Tensor:
    features = sequence.features
    if sequence.factor is not None and sequence.summand is not None:
        features = multiply_add_resized(features, sequence.factor, sequence.summand)
    return features if sequence.slope is None else F.prelu(features, sequence.slope)


def take_moments(features: Float[Tensor, "batch frame dim"]) -> Moments:
    """Of each feature."""
    features = features.contiguous()
    batch, num_frames, dim = features.shape
    mean, variance = (features.new_empty(batch, 1, dim) for _ in range(2))
    call(_NAME, "take_moments", [features, mean, variance], batch, num_frames, dim)
    return mean, variance


def fuse_gates(
    gate: Mapped, shift: Mapped, scale: Float[Tensor, "batch 1 dim"], offset: Float[Tensor, "batch 1 dim"]
) -> tuple[Float[Tensor, "batch frame dim"], Float[Tensor, "batch frame dim"]]:
    """What a sequence of that scale and offset is to be multiplied by, sigmoid(gate) scale, and what is to be added,
    shift + sigmoid(gate) offset; factors and summands of gate and shift have one frame."""
    batch, num_frames, dim = gate.features.shape
    factor, summand = torch.empty_like(gate.features), torch.empty_like(gate.features)
    given = [gate.features, gate.factor, gate.summand, shift.features, shift.factor, shift.summand, scale, offset]
    tensors = [None if tensor is None else tensor.contiguous() for tensor in given]
    call(_NAME, "fuse_gates", [*tensors, factor, summand], batch, num_frames, dim)
    return factor, summand


def fuse_gates_reference(gate: Mapped, shift: Mapped, scale: Tensor, offset: Tensor) -> tuple[Tensor, Tensor]:
    open_ = torch.sigmoid(write_mapped_reference(gate))
    return open_ * scale, torch.addcmul(write_mapped_reference(shift), open_, offset)


def _mapped(sequence: Mapped) -> tuple[list[Tensor | None], int]:
    """Factor, summand and slope in one piece each, and the number of frames of the first two."""
    parts = [sequence.factor, sequence.summand, sequence.slope]
    coarse = 1 if sequence.factor is None else sequence.factor.shape[1]
    return [None if part is None else part.contiguous() for part in parts], coarse


def _sizes(features: Tensor, coarse: int) -> tuple[int, int, int, int]:
    batch, num_frames, dim = features.shape
    return batch, num_frames, coarse, dim

"""A linear layer that takes the fastest matrix product there is for inference on a CPU."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional as F

from unbraid.axes import Float, Tensor


class Linear(nn.Linear):
    """`nn.Linear` with the same parameters and, to rounding, the same result.

    On AMD processors, PyTorch's float32 products go through a library that uses half of the processor there; oneDNN,
    which comes with PyTorch as well, is two to three times as fast (`benchmarks/speed.py`). It has no gradient, so
    training takes the ordinary way.
    """

    def forward(self, features: Float[Tensor, "*axes dim_in"]) -> Float[Tensor, "*axes dim_out"]:
        if not (onednn_takes(features) and onednn_is_faster()):
            return F.linear(features, self.weight, self.bias)
        return torch.ops.mkldnn._linear_pointwise(features, self.weight, self.bias, "none", [], "")


def onednn_takes(features: Tensor) -> bool:
    """Whether oneDNN's own operators may be called on this: inference in float32 on a CPU, outside of any compiler."""
    return not (
        features.requires_grad
        or torch.is_grad_enabled()
        or features.device.type != "cpu"
        or features.dtype != torch.float32
        or torch.is_autocast_enabled("cpu")
        or torch.compiler.is_compiling()
    )


@cache
def onednn_is_faster() -> bool:
    """True on AMD processors under Linux, where this PyTorch has the operator. Asked of the maker and not of a clock,
    so that two runs on one machine give the same bits."""
    if not torch.backends.mkldnn.is_available() or not hasattr(torch.ops.mkldnn, "_linear_pointwise"):
        return False
    try:
        return "AuthenticAMD" in Path("/proc/cpuinfo").read_text()
    except OSError:
        return False

"""Matrix products by oneDNN, the fastest that PyTorch has on some CPUs, and what may be given to its operators."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import torch
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from unbraid.axes import Float, Tensor


def linear(
    features: Float[Tensor, "*axes dim_in"], weight: Float[Tensor, "dim_out dim_in"], bias: Tensor | None
) -> Float[Tensor, "*axes dim_out"]:
    """`F.linear`, its slow twin, to rounding.

    On AMD processors, PyTorch's float32 products go through a library that uses half of the processor there; oneDNN,
    which comes with PyTorch as well, is two to three times as fast (`benchmarks/networks/speed.py`).
    """
    if torch.compiler.is_exporting():
        # Of what does not lie in one piece PyTorch asks whether it has more rows than one, and the program then must.
        return F.linear(features.contiguous(), weight, bias)
    if not (onednn_takes(features, gradients=True) and weight.dtype == torch.float32 and onednn_is_faster()):
        return F.linear(features, weight, bias)
    if torch.is_grad_enabled():
        return OneDnnLinear.apply(features, weight, bias)  # type: ignore[return-value]
    return onednn_linear(features, weight, bias)


class OneDnnLinear(torch.autograd.Function):
    """oneDNN's product with the gradients that it lacks, which are products as well."""

    @staticmethod
    def forward(ctx, features: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:  # type: ignore[override]
        ctx.save_for_backward(features, weight)
        return onednn_linear(features, weight, bias)

    @staticmethod
    @once_differentiable
    def backward(ctx, grad: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None]:  # type: ignore[override]
        features, weight = ctx.saved_tensors
        # oneDNN takes no gradients that repeat in memory, such as that of a sum.
        rows, grad_rows = features.flatten(0, -2).contiguous(), grad.flatten(0, -2).contiguous()
        for_features, for_weight, for_bias = ctx.needs_input_grad
        return (
            onednn_linear(grad_rows, weight.T.contiguous()).view(features.shape) if for_features else None,
            onednn_linear(grad_rows.T, rows.T) if for_weight else None,
            grad_rows.sum(0) if for_bias else None,
        )


def onednn_linear(features: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    return torch.ops.mkldnn._linear_pointwise(features, weight, bias, "none", [], "")


def onednn_takes(features: Tensor, *, gradients: bool = False) -> bool:
    """Whether oneDNN's own operators may be called on this: float32 on a CPU, outside of any compiler, and where no
    gradients are wanted unless the caller has `gradients` of its own."""
    return not (
        (not gradients and (features.requires_grad or torch.is_grad_enabled()))
        or features.device.type != "cpu"
        or features.ndim < 2
        or features.numel() == 0
        or features.dtype != torch.float32
        or torch.is_autocast_enabled("cpu")
        or torch.compiler.is_compiling()
    )


def product(left: Float[Tensor, "row inner"], right: Float[Tensor, "inner column"]) -> Float[Tensor, "row column"]:
    """left @ right by the faster library, for code that takes no gradient through it; `right` or its transpose lies in
    one piece, or oneDNN takes a hundred times as long."""
    if not (onednn_takes(left) and onednn_is_faster()):
        return left @ right
    return onednn_linear(left, right.t())


def gradients_are_ours(features: Tensor) -> bool:
    """Whether a layer may run a gradient of its own that is faster on CPUs: in training, in float32, uncompiled."""
    return torch.is_grad_enabled() and onednn_takes(features, gradients=True)


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


@contextmanager
def half_precision_where_it_runs(device: torch.device) -> Iterator[None]:
    """No autocast on a CPU that has no instructions for bfloat16: an LSTM is an error there, all else slower."""
    if device.type == "cpu" and torch.is_autocast_enabled("cpu") and not cpu_has_bfloat16():
        with torch.autocast("cpu", enabled=False):
            yield
    else:
        yield


@cache
def cpu_has_bfloat16() -> bool:
    """Whether oneDNN multiplies and sums bfloat16 on this processor, such as x86 from AVX-512 on."""
    supported = getattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", None)
    return torch.backends.mkldnn.is_available() and supported is not None and bool(supported())

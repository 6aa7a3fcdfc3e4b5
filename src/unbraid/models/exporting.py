"""The part of a model that exports: real numbers in and out, any number of rows and frames.

What lies around it, an STFT or S4M's encoder and decoder, stays with the model: complex numbers have no form that the
runtimes share. DPRNN and SepFormer, which have none, export whole, and so do S4M and SFC with a post-filter, whose
STFTs become products with cosines and sines.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import dataclass
from typing import cast

import torch
from torch import nn

from unbraid.axes import Float, Tensor
from unbraid.errors import ConfigError
from unbraid.layers.axis_attention import RowAttention
from unbraid.layers.mamba import Mamba
from unbraid.layers.state_space import StateSpaceLayer
from unbraid.models.contract import SeparationModel
from unbraid.models.dprnn.model import DPRNN
from unbraid.models.resunet.model import ResUNet
from unbraid.models.s4m.model import S4M
from unbraid.models.s4m.parts import StateSpaceResidual
from unbraid.models.sfc.mamba import MambaCompressionConfig
from unbraid.models.sfc.model import SFC
from unbraid.models.super_resolution.post_filter import PostFilter
from unbraid.models.super_resolution.wrapper import WithSuperResolution
from unbraid.signal.real_stft import RealStft

_EXAMPLE_FRAMES = 96
_MOST_CHUNKS = 2
"""ours: kernels of state-space layers are stored for so many of the model's chunks."""


@dataclass(frozen=True)
class ExportableCore:
    """A core, what to trace it with, and which of its axes are free."""

    module: nn.Module
    example: Float[Tensor, "*axes"]
    free: dict[int, str]
    """Axis of the input -> its name, the same as in the output."""
    input_name: str
    most_frames: int | None = None
    """Along the last of the free axes; None: as many as there is memory for."""
    least_frames: int = 1

    def inputs(self) -> Iterator[Float[Tensor, "*axes"]]:
        """What a program of it is tried with: the example, a third of its frames, and twice as many in one row."""
        frames = max(self.free)
        yield self.example
        yield self.example.narrow(frames, 0, self.example.shape[frames] // 3 + 1)
        yield torch.cat([self.example[:1], self.example[1:]], dim=frames)


def exportable_core(model: SeparationModel) -> ExportableCore:
    """The core of a model; ConfigError says in one sentence why there is none."""
    _refuse_fixed_lengths(model)
    if isinstance(model, SFC | ResUNet):
        spec, freqs = model.spec, model.stft.num_freqs
        example = torch.randn(2, spec.num_channels, 2, freqs, _EXAMPLE_FRAMES)
        core = cast(nn.Module, model.core)
        return ExportableCore(module=core, example=example, free={0: "batch", 4: "frame"}, input_name="spectrum")
    if isinstance(model, S4M):
        most = int(_MOST_CHUNKS * model.spec.chunk_seconds * model.spec.sample_rate) // model.config.stride_samples
        example = torch.randn(2, _EXAMPLE_FRAMES + 1, model.config.kernel_samples // 2 + 1)
        module = _Core(model, most)
        return ExportableCore(
            module=module, example=example, free={0: "batch", 1: "frame"}, input_name="encoded", most_frames=most
        )
    if isinstance(model, WithSuperResolution) and isinstance(model.super_resolution, PostFilter):
        return _whole(model)
    if isinstance(model, DPRNN):
        example = torch.randn(2, 1, 40 * model.config.chunk_frames)
        return ExportableCore(module=model, example=example, free={0: "batch", 2: "sample"}, input_name="mixture")
    kind = type(model).__name__
    raise ConfigError(
        f"{kind} does not export: {_REASONS.get(kind, 'it has no core in real numbers')}",
        remedy="export a model of SFC, S4M, SepFormer, DPRNN, ResUNet or MTFA",
    )


def _refuse_fixed_lengths(model: SeparationModel) -> None:
    """Traced, a loop over frames is a program for as many frames as the example has, and no others; and PyTorch's
    attention takes a bias between frames for one number of them."""
    if any(isinstance(module, RowAttention) and module.bias is not None for module in model.modules()):
        raise ConfigError(
            "attention with relative positions becomes a program for one length",
            remedy="export a model whose positions are rotary or none",
        )
    if isinstance(model, WithSuperResolution):
        _refuse_fixed_lengths(model.separator)
    if not isinstance(model, SFC | S4M | DPRNN | WithSuperResolution):
        return
    layers = {type(module) for module in getattr(model, "super_resolution", model).modules()}
    remedy = "export a model with attention or a recurrent layer instead"
    if isinstance(model, SFC) and isinstance(model.config.compression, MambaCompressionConfig):
        what = "SFC-Mamba reads more than a thousand bins one after the other"
        remedy = "export a model of SFC-CA, band split or filterbank"
    elif Mamba in layers:
        what = "Mamba reads one frame after the other"
    elif StateSpaceLayer in layers and not isinstance(model, S4M):
        what = "outside of S4M, a state-space layer doubles its impulse responses up to the length that it gets"
    else:
        return
    raise ConfigError(f"{what}, which neither form can loop over", remedy=remedy)


def trace_core(core: ExportableCore) -> torch.export.ExportedProgram:
    """The core as a program, whatever its free axes hold."""
    # Where sizes are symbols, keys for PyTorch's cache of shapes take longer than the shapes do.
    uncached = torch._dynamo.config.patch(fake_tensor_cache_enabled=False)
    free = ({axis: torch.export.Dim.AUTO for axis in core.free},)
    with torch.no_grad(), uncached:
        return torch.export.export(core.module.eval(), (core.example,), dynamic_shapes=free, strict=False)


_REASONS = {
    "WithSuperResolution": "its super-resolution has transforms of its own between two networks",
    "CausalS4M": "it carries states from block to block, which one pass does not return",
    "Ensemble": "it is several networks; export each",
    "PackagedDemucs": "its network is another package's, which has its own exporters",
    "PackagedPymss": "its network is another package's, which has its own exporters",
}


def replace_core(model: SeparationModel, core: Callable[[Tensor], Tensor]) -> None:
    """Has a model ask `core` instead of its own, which is dropped."""
    if isinstance(model, DPRNN | WithSuperResolution):
        for name, _ in list(model.named_children()):
            delattr(model, name)
        object.__setattr__(model, "forward", core)
        return
    if isinstance(model, S4M):
        for name in ("norm", "bottleneck", "rounds", "mask_activation", "mask"):
            delattr(model, name)
    else:
        del model.core
    # Past nn.Module, which takes nothing but modules by a name that was one.
    object.__setattr__(model, "core", core)


def _whole(model: WithSuperResolution) -> ExportableCore:
    """A separator with a post-filter, in real numbers from mixture to estimates."""
    whole = deepcopy(model)
    separator, post_filter, most, least = whole.separator, whole.super_resolution, None, 1
    assert isinstance(post_filter, PostFilter)
    post_filter.stft = RealStft(post_filter.stft)
    if isinstance(separator, S4M):
        most = int(_MOST_CHUNKS * model.spec.chunk_seconds * model.spec.sample_rate)
        _store_kernels(separator, most // separator.config.stride_samples + 2)
    elif isinstance(separator, SFC):
        least = separator.stft.n_fft // 2 + 1
        separator.stft = RealStft(separator.stft)
    else:
        raise ConfigError(
            f"{type(separator).__name__} with a post-filter does not export",
            remedy="export one whose separator is S4M or SFC",
        )
    example = torch.randn(2, model.spec.num_channels, 2 * _EXAMPLE_FRAMES * post_filter.stft.hop)
    free = {0: "batch", 2: "sample"}
    return ExportableCore(whole, example, free, input_name="mixture", most_frames=most, least_frames=least)


class _Core(nn.Module):
    """The core of S4M with the impulse responses of its state-space layers as constants."""

    def __init__(self, model: S4M, most_frames: int) -> None:
        super().__init__()
        self.model = deepcopy(model)
        _store_kernels(self.model, most_frames)

    def forward(self, encoded: Float[Tensor, "batch frame basis"]) -> Float[Tensor, "batch frame feature"]:
        return self.model.core(encoded)


def _store_kernels(model: S4M, most_frames: int) -> None:
    """Impulse responses are found by doubling in float64, for a length that is known; those of fewer frames are their
    beginnings."""
    block = model.rounds.block
    with torch.no_grad():
        kernels = block.kernels(most_frames)
    for index, kernel in enumerate(kernels):
        model.register_buffer(f"kernel{index}", kernel.detach().clone())
    with_kernel = isinstance(block.state_space, StateSpaceResidual)
    depth = len(block.levels)

    def cut(num_frames) -> list[Tensor]:
        lengths = [num_frames]
        for _ in range(depth - 1):
            lengths.append((lengths[-1] + 1) // 2)
        wanted = [lengths[-1], *lengths[-2::-1]]
        stored = [getattr(model, f"kernel{index}") for index in range(len(kernels))]
        return [
            kernel[..., :length] if with_kernel or index else kernel
            for index, (kernel, length) in enumerate(zip(stored, wanted, strict=False))
        ]

    block.__dict__["kernels"] = cut

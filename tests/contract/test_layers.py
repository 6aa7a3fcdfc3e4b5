"""What every layer promises, whatever it computes: its reach in time, its rows, its gradients, its precision."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Callable
from dataclasses import dataclass

import pytest
import torch
from torch import nn

from unbraid import layers
from unbraid.layers.activation import PReLU
from unbraid.layers.attention import CrossAttention, SelfAttentionConfig
from unbraid.layers.axial import TemporalFrequencyAttention
from unbraid.layers.axis_attention import AxialPath, Gate, GlobalPath, LightPath, TemporalFrequencyConfig
from unbraid.layers.convolution import CausalDepthwiseConv, DepthwiseConv, FrameConv, PlaneConv
from unbraid.layers.feedforward import ConvSwiGLU, SwiGLU
from unbraid.layers.linear import Linear
from unbraid.layers.mamba import MambaConfig
from unbraid.layers.norms import BatchNorm, GlobalLayerNorm, RMSGroupNorm, RMSNorm
from unbraid.layers.recurrent import RecurrentConfig
from unbraid.layers.sequence import BothWays, build_sequence_layer
from unbraid.layers.state_space import StateSpaceConfig

DIM, FRAMES, ANY = 8, 24, 10_000


@dataclass(frozen=True, kw_only=True)
class Case:
    """A layer, and how far it reaches along frames."""

    build: Callable[[], nn.Module]

    past: int = 0
    """Frames before it that a frame of the output depends on; ANY: all of them."""

    future: int = 0
    """Frames after it."""

    other: int | None = None
    """Size of the second axis of a plane, between frames and features; None: the layer takes sequences."""

    axes: tuple[int, ...] = ()
    """Order in which the layer wants the axes, if not features last."""

    stride: int = 1

    by_fft: bool = False
    """A transform over all frames spreads what is not finite to all of them."""


class Asking(nn.Module):
    """Cross-attention of its own few queries to the features, as sequence to sequence."""

    def __init__(self) -> None:
        super().__init__()
        self.attention = CrossAttention(DIM, 2)
        self.queries = nn.Parameter(torch.randn(1, FRAMES, DIM))

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        return self.attention(self.queries[:, : features.shape[1]], features, None)


def sequence(config) -> Callable[[], nn.Module]:
    return lambda: build_sequence_layer(DIM, config)


def attention(**options) -> Callable[[], nn.Module]:
    return lambda: TemporalFrequencyAttention(DIM, TemporalFrequencyConfig(num_heads=2, **options))


def axis(path: type[nn.Module], **options) -> Callable[[], nn.Module]:
    return lambda: path(DIM, TemporalFrequencyConfig(num_heads=2, **options))


HEADS = {"num_heads": 2, "inner_dim": 8}
CASES = {
    "linear": Case(build=lambda: Linear(DIM, DIM)),
    "prelu": Case(build=PReLU),
    "swiglu": Case(build=lambda: SwiGLU(DIM, 12)),
    "conv-swiglu": Case(build=lambda: ConvSwiGLU(DIM, 12, 4, 0.1), past=3, future=3),
    "depthwise": Case(build=lambda: DepthwiseConv(DIM, 5), past=2, future=2),
    "depthwise-one-tap": Case(build=lambda: DepthwiseConv(DIM, 1)),
    "depthwise-strided": Case(build=lambda: DepthwiseConv(DIM, 5, 2), past=2, future=2, stride=2),
    "causal-depthwise": Case(build=lambda: CausalDepthwiseConv(DIM, 4), past=3),
    "frame-conv": Case(build=lambda: FrameConv(DIM, DIM, 5, 2), past=2, future=2),
    "plane-conv": Case(build=lambda: PlaneConv(DIM, DIM), past=1, future=1, other=5),
    "global-layer-norm": Case(build=lambda: GlobalLayerNorm(DIM), past=ANY, future=ANY),
    "rms-norm": Case(build=lambda: RMSNorm(DIM)),
    "rms-group-norm": Case(build=lambda: RMSGroupNorm(DIM, 2)),
    "batch-norm": Case(build=lambda: BatchNorm(DIM)),
    "self-attention": Case(build=sequence(SelfAttentionConfig(**HEADS)), past=ANY, future=ANY),
    "rotary": Case(build=sequence(SelfAttentionConfig(positions="rotary", bias=True, **HEADS)), past=ANY, future=ANY),
    "cross-attention": Case(build=Asking, past=ANY, future=ANY),
    "s4": Case(build=sequence(StateSpaceConfig()), past=ANY, future=ANY, by_fft=True),
    "s4-causal": Case(build=sequence(StateSpaceConfig(bidirectional=False)), past=ANY, by_fft=True),
    "s4d-causal": Case(build=sequence(StateSpaceConfig(kind="s4d-lin", bidirectional=False)), past=ANY, by_fft=True),
    "mamba": Case(build=sequence(MambaConfig()), past=ANY),
    "mamba-wide": Case(build=sequence(MambaConfig(expand=2, conv_size=1)), past=ANY),
    "both-ways": Case(build=lambda: BothWays(DIM, MambaConfig()), past=ANY, future=ANY),
    "gru": Case(build=sequence(RecurrentConfig(hidden_dim=5)), past=ANY, future=ANY),
    "gru-causal": Case(build=sequence(RecurrentConfig(hidden_dim=5, bidirectional=False)), past=ANY),
    "lstm": Case(build=sequence(RecurrentConfig(kind="lstm", hidden_dim=5)), past=ANY, future=ANY),
    "axial-path": Case(build=axis(AxialPath), past=ANY, future=ANY),
    "axial-path-pyramid": Case(build=axis(AxialPath, pyramid=(1, 2)), past=ANY, future=ANY),
    "axial-path-gated": Case(build=axis(AxialPath, branches="gated"), past=ANY, future=ANY),
    "gate": Case(build=lambda: Gate(DIM)),
    "light-path": Case(build=axis(LightPath), past=ANY, future=ANY),
    "global-path": Case(build=axis(GlobalPath), past=ANY, future=ANY, other=5, axes=(0, 2, 1, 3)),
    "along-time": Case(build=attention(order="time"), past=ANY, future=ANY, other=5, axes=(0, 3, 1, 2)),
    "along-frequency": Case(build=attention(order="frequency"), other=5, axes=(0, 3, 1, 2)),
    "along-both": Case(build=attention(), past=ANY, future=ANY, other=5, axes=(0, 3, 1, 2)),
}


@pytest.fixture(params=CASES)
def case(request):
    return CASES[request.param]


def build(case: Case, dtype: torch.dtype = torch.float32) -> nn.Module:
    layer = case.build().eval().to(dtype)
    for name, parameter in layer.named_parameters():
        # Biases and skips that begin at zero or one would hide a path.
        if parameter.dim() == 1 and "step" not in name:
            nn.init.uniform_(parameter, 0.3, 1.2)
    return layer


def draw(case: Case, num_frames: int = FRAMES, batch: int = 2, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    """(batch, frame, dim) or (batch, frame, other, dim)."""
    return torch.randn(batch, num_frames, *([case.other] if case.other else []), DIM, dtype=dtype)


def run(case: Case, layer: nn.Module, features: torch.Tensor) -> torch.Tensor:
    """In and out with the axes of `draw`."""
    if not case.axes:
        return layer(features)
    back = sorted(range(len(case.axes)), key=case.axes.__getitem__)
    return layer(features.permute(case.axes)).permute(back)


def frames_seen(case: Case, frame: int, num_frames: int) -> list[int]:
    place = frame * case.stride
    return [seen for seen in range(num_frames) if -case.past <= seen - place <= case.future]


def test_every_layer_has_a_case():
    tried = {type(module) for case in CASES.values() for module in case.build().modules()}
    for info in pkgutil.walk_packages(layers.__path__, f"{layers.__name__}."):
        if info.name.endswith("triton_scan"):
            continue  # needs Triton, which is there where a GPU is, and holds no layer
        module = importlib.import_module(info.name)
        for name, kind in inspect.getmembers(module, inspect.isclass):
            if (
                issubclass(kind, nn.Module)
                and kind.__module__ == info.name
                and not inspect.isabstract(kind)
                and "forward" in vars(kind)
            ):
                assert kind in tried, f"give the layer {name} a case in {__name__}"


@pytest.mark.parametrize("num_frames", [1, 2, 7, 13])
def test_any_number_of_frames_keeps_its_shape(case, num_frames):
    features = draw(case, num_frames)
    with torch.inference_mode():
        outputs = run(case, build(case), features)
    assert outputs.shape == (2, -(-num_frames // case.stride), *features.shape[2:])
    assert outputs.isfinite().all()


def test_a_frame_sees_what_it_may_and_nothing_else(case):
    """By gradients, in double precision: what a transform leaves of rounding is far below what a frame brings."""
    layer, features = build(case, torch.float64), draw(case, batch=1, dtype=torch.float64).requires_grad_()
    outputs = run(case, layer, features)
    for frame in (0, outputs.shape[1] // 2, outputs.shape[1] - 1):
        wanted = (outputs[:, frame] * torch.randn_like(outputs[:, frame])).sum()
        (gradient,) = torch.autograd.grad(wanted, features, retain_graph=True)
        reach = gradient.abs().flatten(2).amax(dim=(0, 2))
        assert (reach > 1e-12 * reach.max()).nonzero().flatten().tolist() == frames_seen(case, frame, FRAMES)


def test_what_is_not_a_number_stays_where_it_is_seen(case):
    """Frames beyond a layer's reach may hold anything, such as the padding of a shorter row."""
    if case.by_fft:
        pytest.skip("a Fourier transform over all frames")
    layer, features = build(case), draw(case)
    with torch.inference_mode():
        expected = run(case, layer, features)
        spoilt = features.clone()
        spoilt[:, FRAMES - 4 :] = torch.nan
        outputs = run(case, layer, spoilt)
    clean = [
        frame
        for frame in range(outputs.shape[1])
        if not set(frames_seen(case, frame, FRAMES)) & set(range(FRAMES - 4, FRAMES))
    ]
    assert torch.allclose(outputs[:, clean], expected[:, clean], atol=1e-6)
    assert bool(clean) == (case.future < ANY)


def test_rows_of_a_batch_do_not_influence_each_other(case):
    layer, features = build(case), draw(case, batch=3)
    with torch.inference_mode():
        together = run(case, layer, features)
        alone = torch.cat([run(case, layer, row[None]) for row in features])
        features[1] = torch.nan
        spoilt = run(case, layer, features)
    assert torch.allclose(together, alone, atol=1e-6)
    assert torch.allclose(spoilt[[0, 2]], together[[0, 2]], atol=1e-6)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_every_parameter_and_the_input_get_a_gradient(case, dtype):
    layer, features = build(case, dtype).train(), draw(case, dtype=dtype).requires_grad_()
    outputs = run(case, layer, features)
    assert outputs.dtype == dtype
    (outputs * torch.randn_like(outputs)).sum().backward()
    for name, tensor in [("input", features), *layer.named_parameters()]:
        assert tensor.grad is not None, name
        assert tensor.grad.isfinite().all(), name
        assert tensor.grad.any(), name


def test_evaluation_is_deterministic_and_changes_nothing(case):
    layer, features = build(case), draw(case)
    before = {name: tensor.clone() for name, tensor in layer.state_dict().items()}
    kept = features.clone()
    with torch.inference_mode():
        first, second = run(case, layer, features), run(case, layer, features)
    assert torch.equal(first, second)
    assert torch.equal(features, kept)
    assert all(torch.equal(before[name], tensor) for name, tensor in layer.state_dict().items())


def test_inference_computes_what_training_sees(case):
    """With gradients and without, a layer may go different ways."""
    layer, features = build(case), draw(case)
    with torch.inference_mode():
        fast = run(case, layer, features)
    assert torch.allclose(run(case, layer, features), fast, atol=1e-5)


def test_half_precision_by_autocast_stays_close(case):
    layer, features = build(case), draw(case)
    with torch.inference_mode():
        exact = run(case, layer, features)
        with torch.autocast("cpu", torch.bfloat16):
            rough = run(case, layer, features)
    assert rough.isfinite().all()
    assert (rough.float() - exact).square().mean() < 1e-3 * exact.square().mean()


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if hasattr(case.build(), "initial_state")])
def test_steps_and_chunks_are_the_whole(name):
    case = CASES[name]
    layer, features = build(case, torch.float64), draw(case, dtype=torch.float64)
    if case.future:
        with pytest.raises(ValueError, match="step by step"):
            layer.step(features[:, 0], layer.initial_state(2))
        return
    whole, state, chunk_state = layer(features), layer.initial_state(2), layer.initial_state(2)
    frames, chunks = [], []
    for frame in features.unbind(1):
        output, state = layer.step(frame, state)
        frames.append(output)
    for part in features.split([1, 5, FRAMES - 6], dim=1):
        output, chunk_state = layer.forward_chunk(part, chunk_state)
        chunks.append(output)
    assert torch.allclose(torch.stack(frames, dim=1), whole, atol=1e-11)
    assert torch.allclose(torch.cat(chunks, dim=1), whole, atol=1e-11)
    assert torch.allclose(state, chunk_state, atol=1e-11)

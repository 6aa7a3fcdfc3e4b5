"""DPRNN: its published size part by part, its numbers derived by hand, chunks, and what it offers as a model."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

from tests.conftest import TINY
from unbraid.layers.recurrent import RecurrentConfig
from unbraid.layers.state_space import StateSpaceConfig
from unbraid.models.catalog import build_model
from unbraid.models.dprnn.chunks import cut_chunks, join_chunks


def size(module):
    return sum(parameter.numel() for parameter in module.parameters())


def test_it_has_the_published_size_part_by_part():
    with torch.device("meta"):
        model = build_model("dprnn")
    # In each direction four gates of 128 with 64 inputs, 128 states and two biases; a map of 256 to 64; a norm.
    path = 2 * (4 * 128 * (64 + 128 + 2)) + 256 * 64 + 64 + 2 * 64
    assert path == 215_232
    assert [size(one) for block in model.blocks for one in block.children()] == 12 * [path]
    assert size(model.blocks) == 2_582_784
    assert [size(part) for part in (model.encoder, model.norm, model.bottleneck)] == [128, 128, 4_096]
    assert [size(part) for part in model.heads[0].children()] == [1, 8_320, 2 * 4_160 + 4_096, 128]
    assert size(model) == 2_608_001


def by_hand(model, mixture):
    """The paper's network with features second and PyTorch's own modules, from the model's weights."""
    config, weights = model.config, model.state_dict()
    kernel, stride, dim, chunk = config.kernel_samples, config.stride_samples, config.dim, config.chunk_frames

    def norm(features, name):
        return F.group_norm(features, 1, weights[f"{name}.weight"], weights[f"{name}.bias"], eps=1e-8)

    def path(rows, name):
        """(row, frame, feature), by a plain LSTM."""
        lstm = nn.LSTM(dim, config.sequence.hidden_dim, batch_first=True, bidirectional=True)
        own = f"{name}.sequence.states."
        lstm.load_state_dict({key.removeprefix(own): value for key, value in weights.items() if key.startswith(own)})
        return F.linear(lstm(rows)[0], weights[f"{name}.sequence.out.weight"], weights[f"{name}.sequence.out.bias"])

    padded = F.pad(mixture, (kernel - stride, kernel - stride + (-(mixture.shape[-1] - kernel)) % stride))
    encoded = F.conv1d(padded, weights["encoder.weight"].unsqueeze(1), stride=stride).relu()
    features = F.conv1d(norm(encoded, "norm"), weights["bottleneck.weight"].unsqueeze(-1))
    num_frames, half = features.shape[-1], chunk // 2
    num_chunks = math.floor((num_frames + half) / chunk) * 2 + 2
    wide = F.pad(features, (half, num_chunks * half - num_frames))
    # (1, feature, place in the chunk, chunk), as the paper draws it.
    plane = torch.stack([wide[..., at * half : at * half + chunk] for at in range(num_chunks)], dim=-1)
    for number in range(config.num_blocks):
        rows = path(plane[0].permute(2, 1, 0), f"blocks.{number}.within")
        plane = plane + norm(rows.permute(2, 1, 0)[None], f"blocks.{number}.within.norm")
        rows = path(plane[0].permute(1, 2, 0), f"blocks.{number}.across")
        plane = plane + norm(rows.permute(2, 0, 1)[None], f"blocks.{number}.across.norm")
    plane = F.prelu(plane, weights["heads.0.activation.weight"])
    plane = F.conv2d(plane, weights["heads.0.split.weight"][..., None, None], weights["heads.0.split.bias"])
    joined = torch.zeros(1, plane.shape[1], wide.shape[-1] + half)
    for at in range(num_chunks):
        joined[..., at * half : at * half + chunk] += plane[..., at]
    estimates = []
    for features in joined[..., half:][..., :num_frames].chunk(2, dim=1):

        def conv(what, name):
            found = weights[f"heads.0.output.{name}.weight"].unsqueeze(-1)
            return F.conv1d(what, found, weights.get(f"heads.0.output.{name}.bias"))

        mask = conv(conv(features, "value").tanh() * conv(features, "gate").sigmoid(), "out").relu()
        filters = weights["heads.0.decoder.weight"].T.unsqueeze(1)
        decoded = F.conv_transpose1d(mask * encoded, filters, stride=stride)
        estimates.append(decoded[..., kernel - stride :][..., : mixture.shape[-1]])
    return torch.stack(estimates, dim=1)


@pytest.mark.parametrize("changes", [{}, {"kernel_samples": 16, "stride_samples": 8, "chunk_frames": 10}])
def test_its_numbers_are_those_derived_by_hand(changes):
    model = build_model("dprnn", **TINY["dprnn"] | changes)
    mixture = torch.randn(1, 1, 403)
    with torch.inference_mode():
        expected = by_hand(model, mixture)
        assert expected.abs().max() > 1e-3
        assert torch.allclose(model(mixture), expected, atol=1e-6)


@given(num_frames=st.integers(1, 200), half=st.integers(1, 12))
@settings(max_examples=40, deadline=None)
def test_every_frame_lies_in_two_chunks(num_frames, half):
    frames = torch.randn(2, num_frames, 3)
    chunks = cut_chunks(frames, 2 * half)
    assert chunks.shape[2] == 2 * half
    assert torch.allclose(join_chunks(chunks, num_frames), 2 * frames)


@pytest.mark.parametrize(("num_frames", "num_chunks"), [(999, 42), (3999, 162)])
def test_there_are_as_many_chunks_as_the_paper_has(num_frames, num_chunks):
    assert cut_chunks(torch.zeros(1, num_frames, 1), 50).shape[1] == num_chunks


@pytest.mark.parametrize(
    "changes",
    [
        {"sequence": RecurrentConfig(hidden_dim=6)},
        {"sequence": StateSpaceConfig()},
        {"norm": "frame", "mask_output": "plain"},
        {"kernel_samples": 16, "stride_samples": 8, "padding": "right", "sources": ("a", "b", "c")},
    ],
)
def test_choices_can_be_combined(changes):
    model = build_model("dprnn", **TINY["dprnn"] | changes)
    with torch.inference_mode():
        estimates = model(torch.randn(2, 1, 701))
    assert estimates.shape == (2, model.spec.num_sources, 1, 701)
    assert estimates.isfinite().all()


def test_each_block_can_have_a_head_for_the_multi_loss():
    model = build_model("dprnn", **TINY["dprnn"] | {"heads": "each"})
    mixture = torch.randn(1, 1, 300)
    estimates = model.intermediate_estimates(mixture)
    assert [estimate.shape for estimate in estimates] == 2 * [(1, 2, 1, 300)]
    assert torch.equal(estimates[-1], model(mixture))

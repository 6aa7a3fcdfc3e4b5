"""SepFormer and the separator of SFSRNet: SpeechBrain's numbers, the paper's sizes, heads and batches."""

from dataclasses import replace

import pytest
import torch
from torch.nn import functional as F

from tests.conftest import TINY, TINY_ATTENTION
from unbraid.errors import ConfigError
from unbraid.layers.mamba import MambaConfig
from unbraid.models.catalog import build_model
from unbraid.models.sepformer.blocks import sinusoids
from unbraid.models.sepformer.model import SepFormerConfig, sfsrnet_separator
from unbraid.weights.foreign import convert_weights

SMALL = replace(
    sfsrnet_separator(), dim=8, num_blocks=3, num_layers=1, chunk_frames=10, feedforward_dim=12, sequence=TINY_ATTENTION
)


def size(module):
    return sum(parameter.numel() for parameter in module.parameters())


@pytest.fixture(scope="module")
def separator():
    """The separator of SFSRNet at full size; building it takes a second."""
    return build_model(sfsrnet_separator())


def test_speechbrains_numbers_come_out(golden):
    tensors = golden("sepformer_a")
    weights = {name.removeprefix("weights/"): value for name, value in tensors.items() if name.startswith("weights/")}
    config = SepFormerConfig(
        dim=16, num_layers=1, chunk_frames=20, feedforward_dim=32, sequence=replace(TINY_ATTENTION, inner_dim=16)
    )
    model = convert_weights(weights, "speechbrain", config)
    with torch.inference_mode():
        estimates = model(tensors["input"].unsqueeze(1))
    assert (estimates.squeeze(2).movedim(1, 2) - tensors["output"]).abs().max() < 1e-6


def test_sepformer_has_the_published_size():
    assert size(build_model("sepformer")) == 25_679_361


def test_the_separator_of_sfsrnet_has_the_papers_parts(separator):
    layer = separator.blocks[0].within.layers[0]
    assert size(layer.sequence) == 263_168
    assert size(layer.norm_sequence) + size(layer.norm_feedforward) == 1_024
    assert size(layer.widen) == 131_584
    assert size(layer.narrow) == 1_179_904
    layers = [layer for block in separator.blocks for stack in (block.within, block.across) for layer in stack.layers]
    assert sum(size(layer) for layer in layers) == 50_421_760
    assert [size(part) for part in (separator.encoder, separator.norm, separator.bottleneck)] == [4_096, 512, 65_536]
    assert [size(part) for part in separator.heads[0].children()] == [1, 131_584, 0, 4_096]
    assert size(separator.heads) == 1_085_448
    # The paper's arithmetic leaves the norms at the end of the 16 stacks out.
    assert size(separator) == 50_421_760 + 70_144 + 1_085_448 + 16 * 1_024


@pytest.mark.parametrize(
    ("changes", "more"),
    [
        ({"final_norms": False}, -16 * 1_024),
        ({"heads": "shared"}, -7 * 135_681),
        ({"mask_output": "linear"}, 8 * 65_536),
        ({"mask_output": "gated"}, 8 * (2 * 65_792 + 65_536)),
        ({"linear_after_stack": True}, 16 * 65_792),
        ({"sources": ("a", "b", "c")}, 8 * 65_792),
    ],
)
def test_every_open_choice_costs_what_it_should(separator, changes, more):
    with torch.device("meta"):
        model = build_model(replace(sfsrnet_separator(), **changes))
    assert size(model) - size(separator) == more


def test_positions_are_the_known_sinusoids():
    found = sinusoids(30, 8, torch.zeros(1))
    assert found[7, 0] == pytest.approx(torch.tensor(7.0).sin().item())
    assert found[7, 5] == pytest.approx(torch.tensor(7 * 10_000 ** (-4 / 8)).cos().item(), abs=1e-6)


@pytest.mark.parametrize("padding", ["right", "both"])
@pytest.mark.parametrize("num_samples", [1, 15, 16, 17, 24, 333])
def test_with_padding_every_sample_is_reached(padding, num_samples):
    """An encoder and a decoder that undo each other, with masks of one, give every sample the same weight or more."""
    model = build_model(replace(SMALL, padding=padding, kernel_samples=16, stride_samples=8))
    frames = model._frames(torch.ones(1, 1, num_samples))
    reached = F.fold(
        torch.ones_like(frames).transpose(1, 2), (1, 8 * frames.shape[1] + 8), (1, 16), stride=(1, 8)
    ).flatten()[model._margin :][:num_samples]
    assert len(reached) == num_samples
    assert reached.min() >= (2 if padding == "both" else 1)


def test_without_padding_the_end_is_silent_as_published():
    estimates = build_model("sepformer", **TINY["sepformer"])(torch.randn(1, 1, 8 * 50 + 5))
    assert not estimates[..., 8 * 50 :].any()
    assert estimates[..., 8 * 50 - 64 : 8 * 50].any()


def test_the_plane_convolution_sees_neighbouring_chunks_of_its_own_example_only():
    """With attention silenced, an impulse spreads to the chunks beside it, and never to another example."""
    model = build_model(SMALL)
    layer = model.blocks[0].within.layers[0]
    torch.nn.init.zeros_(layer.sequence.out.weight)
    torch.nn.init.zeros_(layer.sequence.out.bias)
    plane = torch.randn(2, 6, 10, 8)
    changed = plane.clone()
    changed[0, 3, 5, 0] += 1.0
    with torch.inference_mode():
        touched = (layer(changed) - layer(plane)).abs().amax(dim=-1) > 1e-7
    assert not touched[1].any()
    assert touched[0].nonzero().amin(0).tolist() == [2, 4]
    assert touched[0].nonzero().amax(0).tolist() == [4, 6]


@pytest.mark.parametrize(("heads", "count"), [("last", 1), ("each", 3), ("shared", 3)])
def test_there_is_an_estimate_for_every_head(heads, count):
    model = build_model(replace(SMALL, heads=heads))
    estimates = model.intermediate_estimates(torch.randn(2, 1, 500))
    assert [estimate.shape for estimate in estimates] == [(2, 2, 1, 500)] * count


def test_separating_computes_the_last_head_only():
    model = build_model(SMALL)
    used = []
    for number, head in enumerate(model.heads):
        head.register_forward_hook(lambda *_, number=number: used.append(number))
    with torch.inference_mode():
        model(torch.randn(1, 1, 500))
    assert used == [2]


@pytest.mark.parametrize(
    "changes",
    [
        {"norm": "frame"},
        {"final_norms": False},
        {"linear_after_stack": True},
        {"mask_output": "linear"},
        {"mask_output": "gated", "mask_activation": "before"},
        {"padding": "right", "sample_rate": 16_000, "sources": ("a", "b", "c")},
        {"kernel_samples": 64, "stride_samples": 32, "heads": "shared"},
        {"sequence": MambaConfig(state_size=2)},
        {"feedforward": "linear"},
        {"num_filters": 20, "mask_output": "gated"},
    ],
)
def test_choices_can_be_combined(changes):
    model = build_model(replace(SMALL, **changes))
    mixture = torch.randn(2, 1, 701)
    with torch.inference_mode():
        together, alone = model(mixture), model(mixture[:1])
    assert together.shape == (2, model.spec.num_sources, 1, 701)
    assert together.isfinite().all()
    assert torch.allclose(together[:1], alone, atol=1e-5)


def test_activations_computed_twice_change_no_gradient():
    model, mixture = build_model(SMALL).train(), torch.randn(1, 1, 300)
    gradients = []
    for enabled in (False, True):
        model.set_gradient_checkpointing(enabled)
        model.zero_grad()
        torch.stack(model.intermediate_estimates(mixture)).square().sum().backward()
        gradients.append([parameter.grad.clone() for parameter in model.parameters()])
    assert all(torch.allclose(one, other, rtol=1e-4, atol=1e-6) for one, other in zip(*gradients, strict=True))


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [({"chunk_frames": 25}, "even"), ({"stride_samples": 17}, "at most kernel_samples"), ({"dim": 0}, "dim")],
)
def test_what_cannot_be_is_said(changes, sentence):
    with pytest.raises(ConfigError, match=sentence):
        replace(SMALL, **changes)


def test_sfsrnet_is_the_separator_and_the_network(separator):
    with torch.device("meta"):
        model = build_model("sfsrnet")
    # 58.2 million by the paper's arithmetic, and the norms at the end of the stacks.
    assert size(model) == 58_243_978 + 16_384
    assert size(model.super_resolution) == 6_666_626
    assert size(model.separator) == size(separator)

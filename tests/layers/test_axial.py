"""Temporal-frequency attention: its size, what it sees, and that taking a few rows at a time changes nothing."""

import pytest
import torch

from unbraid.errors import ConfigError
from unbraid.layers.axial import TemporalFrequencyAttention
from unbraid.layers.axis_attention import RowAttention, TemporalFrequencyConfig

OPTIONS = [
    {},
    {"order": "frequency-time"},
    {"order": "parallel"},
    {"order": "time"},
    {"order": "frequency"},
    {"form": "light"},
    {"form": "global"},
    {"positions": "relative", "reach": 3},
    {"positions": "rotary"},
    {"pyramid": (1, 2, 4)},
    {"patterns": (1, 3)},
    {"pyramid": (1, 2), "patterns": (1, 5), "positions": "relative", "order": "parallel"},
    {"branches": "gated"},
    {"branches": "gated", "form": "light", "order": "parallel"},
    {"branches": "gated", "form": "global"},
]


def build(dim=16, **options):
    module = TemporalFrequencyAttention(dim, TemporalFrequencyConfig(**options)).eval()
    for name, parameter in module.named_parameters():
        if (name.endswith(".bias") and parameter.dim() == 2) or "gate" in name:
            torch.nn.init.normal_(parameter)  # relative positions and gates begin at zero
    return module


@pytest.mark.parametrize(
    ("form", "sizes"),
    [
        ("axial", {64: 66_944, 128: 264_960, 256: 1_054_208, 384: 2_367_744}),
        ("light", {64: 8_640, 128: 33_664, 256: 132_864, 384: 297_600}),
    ],
)
def test_sizes(form, sizes):
    for dim, size in sizes.items():
        with torch.device("meta"):
            module = TemporalFrequencyAttention(dim, TemporalFrequencyConfig(form=form))
        assert sum(parameter.numel() for parameter in module.parameters()) == size


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_a_few_rows_at_a_time_are_as_good_as_all(options):
    module = build(**options)
    features = torch.randn(2, 16, 13, 11)
    whole = module(features)  # with gradients everything is taken at once
    module.tokens_at_once = 30
    calls = []
    path = module.time or module.frequency
    path.register_forward_pre_hook(lambda _, arguments: calls.append(arguments[0].shape[:2].numel()))
    with torch.inference_mode():
        assert torch.allclose(module(features), whole, atol=1e-5)
    assert (len(calls) > 5 and max(calls) <= 30) or options.get("form") == "global"


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_gated_branches_begin_as_the_identity_and_learn(options):
    module = TemporalFrequencyAttention(16, TemporalFrequencyConfig(**options | {"branches": "gated"})).train()
    features = torch.randn(2, 16, 5, 7)
    assert torch.equal(module(features), features)
    for _ in range(2):  # the gates first, then what is behind them
        module.zero_grad()
        module(features).pow(3).sum().backward()
        gates = [parameter for name, parameter in module.named_parameters() if "gate" in name]
        outer = [module.merge_gate.weight] if options.get("order") == "parallel" else gates
        assert all(gate.grad.any() for gate in outer)
        torch.optim.SGD(gates, lr=1e-3).step()
    assert not torch.equal(module(features), features)


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_any_plane_keeps_its_shape_and_everything_learns(options):
    module = build(**options).train()
    for frames, freqs in ((1, 1), (1, 7), (9, 4)):
        assert module(torch.randn(2, 16, frames, freqs)).shape == (2, 16, frames, freqs)
    module(torch.randn(2, 16, 9, 6)).pow(3).sum().backward()
    assert all(parameter.grad is not None and parameter.grad.any() for parameter in module.parameters())


def reached(order, form="axial"):
    """Where a change of one place of the plane is felt."""
    module = build(order=order, form=form)
    features = torch.randn(1, 16, 6, 5)
    changed = features.clone()
    changed[:, :, 2, 3] = torch.randn(1, 16)
    with torch.inference_mode():
        return (module(changed) - module(features)).abs().sum(dim=1)[0] > 1e-6


@pytest.mark.parametrize("form", ["axial", "light", "global"])
def test_time_reaches_all_frames_and_frequency_all_bins(form):
    by_time, by_frequency = reached("time", form), reached("frequency", form)
    # Whole frames are compared in the global form, so that one bin changes how all are mixed.
    assert by_time[:, 3].all()
    assert by_frequency[2].all()
    if form != "global":
        assert by_time.sum() == 6
        assert by_frequency.sum() == 5
        assert reached("time-frequency", form).all()


def test_it_is_softmax_attention_written_out():
    attention = RowAttention(8, TemporalFrequencyConfig(num_heads=2))
    rows = torch.randn(3, 7, 8)
    with torch.inference_mode():
        query, key, value = (
            part.unflatten(-1, (2, 4)).transpose(1, 2) for part in attention.query_key_value(rows).chunk(3, dim=-1)
        )
        weights = (query @ key.transpose(-2, -1) / 2).softmax(dim=-1)
        assert torch.allclose(attention.weights(rows), weights, atol=1e-6)
        by_hand = attention.out((weights @ value).transpose(1, 2).flatten(2))
        assert torch.allclose(attention(rows), by_hand, atol=1e-6)


def test_the_weights_shown_are_those_used():
    config = TemporalFrequencyConfig(num_heads=4, patterns=(1, 3), positions="relative", reach=2)
    attention = RowAttention(8, config)
    torch.nn.init.normal_(attention.bias)
    rows = torch.randn(2, 9, 8)
    with torch.inference_mode():
        value = attention.query_key_value(rows).chunk(3, dim=-1)[2].unflatten(-1, (4, 2)).transpose(1, 2)
        by_hand = attention.out((attention.weights(rows) @ value).transpose(1, 2).flatten(2))
        assert torch.allclose(attention(rows), by_hand, atol=1e-5)


def test_a_long_pattern_tells_apart_what_one_frame_cannot():
    """Two frames are alike, but come after different ones: only queries of three frames see it."""
    attention = RowAttention(4, TemporalFrequencyConfig(num_heads=2, patterns=(1, 3)))
    with torch.no_grad():
        eye = torch.eye(4)
        attention.query_key_value.weight.copy_(torch.cat([4 * eye, 4 * eye, eye]))
        attention.query_key_value.bias.zero_()
    a, b, c = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.7, 0.7]]).repeat(1, 2)  # both heads see the same
    rows = torch.stack([a, c, b, b, c, a, a, c, b])[None]
    with torch.inference_mode():
        single, triple = attention.weights(rows)[0]
    # From the first "a c b", single frames see the c of "b c a" just as well as that of the other "a c b".
    assert torch.isclose(single[1, 4], single[1, 7], atol=1e-6)
    assert triple[1, 7] > 1.5 * triple[1, 4]


def test_what_repeats_is_found():
    """Queries and keys that are the features themselves: a frame looks where the same frame comes again."""
    attention = RowAttention(8, TemporalFrequencyConfig(num_heads=1))
    with torch.no_grad():
        attention.query_key_value.weight.copy_(torch.cat([3 * torch.eye(8), 3 * torch.eye(8), torch.eye(8)]))
    bar = torch.randn(5, 8)
    with torch.inference_mode():
        weights = attention.weights(torch.cat([bar, bar, bar])[None])[0, 0]
    period = weights.diagonal(offset=5)
    assert (period > weights.diagonal(offset=4)[:10]).float().mean() > 0.7


def test_fewer_frames_than_a_pyramid_steps():
    module = build(pyramid=(1, 4))
    assert module(torch.randn(1, 16, 3, 2)).isfinite().all()


@pytest.mark.parametrize(
    "options",
    [
        {"num_heads": 0},
        {"pyramid": ()},
        {"patterns": (2,)},
        {"patterns": (1, 3, 5)},
        {"form": "light", "pyramid": (1, 2)},
        {"form": "global", "positions": "rotary"},
    ],
)
def test_settings_that_do_not_go_together_are_refused(options):
    with pytest.raises(ConfigError):
        TemporalFrequencyConfig(**options)


@pytest.mark.parametrize(("dim", "options"), [(6, {}), (12, {"positions": "rotary"}), (6, {"form": "global"})])
def test_widths_that_do_not_fit_are_refused(dim, options):
    with pytest.raises(ConfigError):
        TemporalFrequencyAttention(dim, TemporalFrequencyConfig(**options))

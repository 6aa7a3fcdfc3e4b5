"""S4M against the specification's numbers and the published code's outputs."""

import pytest
import torch

from unbraid.errors import ConfigError
from unbraid.layers.state_space import StateSpaceConfig
from unbraid.losses.distances import negative_si_sdr
from unbraid.losses.weighted import LossConfig, LossTerm, WeightedLoss
from unbraid.models.catalog import build_model
from unbraid.models.s4m.model import S4M, S4MConfig
from unbraid.weights.adapters import s4m_authors


@pytest.mark.parametrize(
    ("sample_rate", "kernel_ms", "depth", "total"),
    [
        (8000, 4, 4, 1_828_967),
        (8000, 2, 4, 1_823_863),
        (16000, 4, 4, 1_843_015),
        (16000, 2, 4, 1_828_967),
        (8000, 4, 5, 1_848_423),
        (16000, 2, 5, 1_848_423),
        (8000, 2, 5, 1_843_319),
        (16000, 4, 5, 1_862_471),
        (16000, 21, 4, 2_169_143),
    ],
)
def test_the_tiny_model_has_exactly_the_published_parameters(sample_rate, kernel_ms, depth, total):
    model = build_model("s4m-tiny", sample_rate=sample_rate, kernel_ms=float(kernel_ms), depth=depth)
    assert sum(parameter.numel() for parameter in model.parameters()) == total


@pytest.mark.parametrize(
    ("overrides", "total"),
    [({}, 3_553_383), ({"kernel_ms": 4.0}, 3_567_431), ({"sample_rate": 8000}, 3_548_279)],
)
def test_the_full_model_adds_a_state_space_after_each_merge_but_the_finest(overrides, total):
    assert sum(parameter.numel() for parameter in build_model("s4m", **overrides).parameters()) == total


def test_all_merges_may_have_one():
    model = build_model("s4m-tiny", sample_rate=8000, kernel_ms=4.0, depth=4, decoder_state_space="all")
    assert sum(parameter.numel() for parameter in model.parameters()) == 3_533_927


@pytest.mark.parametrize(("name", "fusion"), [("s4m_tiny_im1_a", "previous"), ("s4m_tiny_ip1_a", "next")])
def test_it_reproduces_the_published_code(golden, name, fusion):
    file = golden(name)
    model = S4M(
        S4MConfig(
            sample_rate=8000, kernel_ms=4.0, bottleneck_dim=16, hidden_dim=32, num_rounds=2, depth=3, fusion=fusion
        )
    )
    weights = {key.removeprefix("weights/"): value for key, value in file.items() if key.startswith("weights/")}
    model.load_state_dict(s4m_authors.convert(weights))
    with torch.inference_mode():
        estimates = model(file["input"].unsqueeze(1))
    assert (estimates.squeeze(2) - file["output"]).abs().max() < 2e-6


@pytest.mark.parametrize(
    ("sample_rate", "kernel_ms", "num_samples", "depth", "lengths"),
    [
        (8000, 4.0, 24000, 4, [3010, 1505, 753, 377]),
        (8000, 2.0, 32000, 4, [8010, 4005, 2003, 1002]),
        (16000, 4.0, 32000, 4, [2010, 1005, 503, 252]),
        (16000, 2.0, 32000, 5, [4010, 2005, 1003, 502, 251]),
    ],
)
def test_the_levels_have_the_published_lengths(sample_rate, kernel_ms, num_samples, depth, lengths):
    model = build_model(
        "s4m-tiny",
        sample_rate=sample_rate,
        kernel_ms=kernel_ms,
        depth=depth,
        num_rounds=1,
        hidden_dim=4,
        bottleneck_dim=4,
    )
    seen = []
    for level in model.rounds.block.levels:
        level.conv.register_forward_hook(lambda module, inputs, output: seen.append(output.shape[1]))
    model(torch.zeros(1, 1, num_samples))
    assert seen == lengths


def test_one_kernel_serves_all_rounds():
    model = build_model("s4m-tiny", kernel_ms=8.0, num_rounds=5, hidden_dim=8, bottleneck_dim=8, depth=3)
    system, calls = model.rounds.block.state_space.layer.system, []
    discretise = system.discretise
    system.discretise = lambda: calls.append(1) or discretise()
    model(torch.randn(1, 1, 4000))
    assert len(calls) == 1


@pytest.mark.parametrize("kind", ["s4d-legs", "s4d-lin", "s4d-inv", "s4d-real"])
def test_s4d_takes_the_place_of_s4(kind):
    model = build_model(
        "s4m-tiny",
        kernel_ms=8.0,
        num_rounds=2,
        hidden_dim=8,
        bottleneck_dim=8,
        depth=3,
        state_space=StateSpaceConfig(kind=kind, bidirectional=False),
    )
    assert model(torch.randn(1, 1, 900)).shape == (1, 2, 1, 900)


SMALL = {"kernel_ms": 8.0, "num_rounds": 2, "hidden_dim": 8, "bottleneck_dim": 8}


@pytest.mark.parametrize("depth", [1, 2, 3, 5])
@pytest.mark.parametrize("coarsest", ["s4", "mamba", "attention"])
def test_any_layer_reads_the_coarsest_of_any_number_of_levels(coarsest, depth):
    model = build_model("s4m-tiny", **SMALL, coarsest=coarsest, depth=depth).train()
    estimates = model(torch.randn(2, 1, 900))
    assert estimates.shape == (2, 2, 1, 900)
    estimates.square().sum().backward()
    assert all(value.grad is not None for name, value in model.named_parameters() if ".state_space." in name)


def test_mamba_reads_one_way_where_s4_would():
    """And then hears nothing of what comes; attention, which cannot, is refused."""
    one_way = StateSpaceConfig(bidirectional=False)
    features = torch.randn(1, 12, 8)
    later = torch.cat([features[:, :6], torch.randn(1, 6, 8)], dim=1)
    for config, causal in ((one_way, True), (StateSpaceConfig(), False)):
        layer = build_model("s4m-tiny", **SMALL, coarsest="mamba", state_space=config).rounds.block.state_space
        outputs = [layer(given, layer.kernel(12))[:, :6] for given in (features, later)]
        assert torch.allclose(*outputs, atol=1e-6) == causal
    with pytest.raises(ConfigError, match="both ways"):
        S4MConfig(coarsest="attention", state_space=one_way)


def test_three_speakers():
    model = build_model(
        "s4m-tiny", kernel_ms=8.0, num_rounds=1, hidden_dim=8, bottleneck_dim=8, sources=("a", "b", "c")
    )
    assert model(torch.randn(2, 1, 900)).shape == (2, 3, 1, 900)


@pytest.mark.parametrize("settings", [{"kernel_ms": 0.1}, {"depth": 0}, {"num_rounds": 0}, {"kernel_ms": 2.1}])
def test_a_setting_out_of_range_is_refused(settings):
    with pytest.raises(ConfigError):
        S4MConfig(**settings)


def test_an_unknown_setting_is_refused_with_the_known_ones():
    with pytest.raises(ConfigError, match="num_rounds"):
        build_model("s4m-tiny", rounds=3)


@pytest.mark.slow
def test_it_overfits_one_batch():
    model = build_model("s4m-tiny", sample_rate=8000, kernel_ms=4.0, hidden_dim=128, num_rounds=4, depth=4).train()
    time = torch.arange(8000) / 8000
    wobble = 3 * torch.sin(2 * torch.pi * 3 * time)
    tones = torch.stack([torch.sin(2 * torch.pi * hertz * time + wobble) for hertz in (220, 930)])
    references = (tones * torch.rand(2, 1) * 0.2).unsqueeze(1)[None]
    optimiser = torch.optim.Adam(model.parameters(), 2e-3)
    objective = WeightedLoss(LossConfig(terms=(LossTerm(name="si-sdr"),)), exchangeable=True)
    for _ in range(250):
        loss = objective(model(references.sum(1)), references, references.sum(1)).total
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    mixture = references.sum(1, keepdim=True).expand_as(references)
    before = negative_si_sdr(mixture, references).mean()
    assert before - loss > 15

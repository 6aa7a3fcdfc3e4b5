"""MTFA: where attention stands, what it costs, and that it grows out of the U-Net."""

import pytest
import torch

from unbraid.errors import ConfigError
from unbraid.layers.axis_attention import TemporalFrequencyConfig
from unbraid.models.catalog import PRESETS, build_model
from unbraid.models.mtfa.model import LEVELS, MTFAConfig, attention_costs
from unbraid.models.resunet.config import CENTRE
from unbraid.weights.foreign import formats_of

TINY = {"sample_rate": 8000, "n_fft": 128, "hop": 32, "width": 1.0, "channels": (4, 4, 4, 4, 8)}


def count(config):
    with torch.device("meta"):
        return sum(parameter.numel() for parameter in build_model(config).parameters())


def test_sizes_of_the_presets():
    """The U-Net and one module per place: E3 of 128 features, E4 of 256, and six of 384."""
    attention = 264_960 + 1_054_208 + 6 * 2_367_744
    assert count(PRESETS["mtfa"]) == 102_571_278 + attention == 118_096_910
    assert count(PRESETS["mtfa-small"]) == 7_407_974


def test_the_cost_table():
    """Score entries per head for 3 s, as in our specification: places of E1 to E6 and of the centre."""
    places = ("E1", "E2", "E3", "E4", "E5", "E6", "C1")
    costs = attention_costs(MTFAConfig(), 3.0, places)
    sizes = [(cost.num_frames, cost.num_freqs, cost.dim) for cost in costs]
    assert sizes == [
        (320, 1024, 32),
        (160, 512, 64),
        (80, 256, 128),
        (40, 128, 256),
        (20, 64, 384),
        (10, 32, 384),
        (10, 16, 384),
    ]
    time = [f"{cost.time_entries:.2e}" for cost in costs]
    assert time == ["1.05e+08", "1.31e+07", "1.64e+06", "2.05e+05", "2.56e+04", "3.20e+03", "1.60e+03"]
    frequency = [f"{cost.frequency_entries:.2e}" for cost in costs]
    assert frequency == ["3.36e+08", "4.19e+07", "5.24e+06", "6.55e+05", "8.19e+04", "1.02e+04", "2.56e+03"]


@pytest.mark.parametrize(
    "options",
    [
        {"places": CENTRE},
        {"places": CENTRE, "centre": "replaced"},
        {"places": ("E1", "D6", "last")},
        {"attention": TemporalFrequencyConfig(order="time")},
        {"attention": TemporalFrequencyConfig(form="light")},
        {"attention": TemporalFrequencyConfig(form="global")},
        {"attention": TemporalFrequencyConfig(pyramid=(1, 2), patterns=(1, 3))},
    ],
    ids=str,
)
def test_every_option_separates_and_learns(options):
    model = build_model("mtfa", **TINY | options).train()
    estimates = model(0.1 * torch.randn(2, 2, 1777))
    assert estimates.shape == (2, 1, 2, 1777)
    estimates.square().mean().backward()
    assert all(parameter.grad is not None for parameter in model.parameters())


def test_centre_stages_give_way_to_attention():
    kept, replaced = (count(MTFAConfig(places=CENTRE[:2], centre=centre)) for centre in ("kept", "replaced"))
    assert kept - replaced == 2 * (8 * 9 * 384**2 + 8 * 2 * 384)


def test_without_places_it_is_the_unet():
    """And a U-Net's weights are those of an MTFA, so that one can be trained on from the other."""
    unet = build_model("resunet", **TINY)
    plain, attending = build_model("mtfa", **TINY, places=()), build_model("mtfa", **TINY)
    assert plain.load_state_dict(unet.state_dict())
    missing, unexpected = attending.load_state_dict(unet.state_dict(), strict=False)
    assert not unexpected
    assert all(name.startswith("core.after.") for name in missing)
    mixture = 0.1 * torch.randn(1, 2, 1500)
    with torch.inference_mode():
        assert torch.equal(unet(mixture), plain(mixture))


def test_with_gated_branches_it_begins_as_the_unet():
    """So that attention can only help: what it adds is learned from nothing."""
    unet = build_model("resunet", **TINY)
    gated = build_model("mtfa", **TINY, attention=TemporalFrequencyConfig(branches="gated"))
    gated.load_state_dict(unet.state_dict(), strict=False)
    mixture = 0.1 * torch.randn(1, 2, 1500)
    with torch.inference_mode():
        assert torch.equal(unet(mixture), gated(mixture))


def test_long_recordings_need_no_more_than_their_rows():
    """Attention a few rows at a time, at every level, gives what all rows at once give."""
    model = build_model("mtfa", **TINY)
    mixture = 0.1 * torch.randn(2, 2, 9000)
    with torch.inference_mode():
        whole = model(mixture)
        for place in LEVELS:
            model.core.after[place].tokens_at_once = 1
        assert torch.allclose(model(mixture), whole, atol=1e-5)


@pytest.mark.slow
def test_the_core_exports_for_any_number_of_frames():
    """From 33 on; the exporter makes a program of its own of planes whose deepest level has a single frame."""
    core = build_model("mtfa", **TINY, places=("E3", "C1"), units=1).core
    spectrum = torch.randn(1, 2, 2, 65, 96)
    dynamic = {"spectrum": {4: torch.export.Dim.AUTO}}
    program = torch.export.export(core, (spectrum,), dynamic_shapes=dynamic, strict=False).module()
    with torch.inference_mode():
        for frames in (33, 77, 160):
            spectrum = torch.randn(1, 2, 2, 65, frames)
            assert torch.allclose(program(spectrum), core(spectrum), atol=1e-5)


def test_a_place_named_twice_is_refused():
    with pytest.raises(ConfigError, match="twice"):
        MTFAConfig(places=("E3", "E3"))


def test_a_unets_foreign_weights_are_not_for_it():
    assert formats_of(PRESETS["resunet"]) == ["resunet-authors"]
    assert formats_of(PRESETS["mtfa"]) == []

"""What models/contract.py promises, for every preset of the catalog, and for options that put another layer in it."""

from dataclasses import replace

import pytest
import torch

from tests.conftest import TINY
from unbraid.errors import ConfigError, SignalError
from unbraid.models.catalog import PRESETS, build_model, config_of
from unbraid.models.contract import SeparationModel
from unbraid.models.sfc.cross_attention import CrossAttentionConfig
from unbraid.models.super_resolution.time_domain import TimeSuperResolutionConfig
from unbraid.weights.store import load_model, save_model

BEYOND = {
    "s4m-tiny, mamba": ("s4m-tiny", {"coarsest": "mamba"}),
    "s4m-tiny, attention": ("s4m-tiny", {"coarsest": "attention"}),
    "sfc-ca-small, one table": (
        "sfc-ca-small",
        {
            "band_scale": "hertz",
            "compression": CrossAttentionConfig(inner_dim=8, num_heads=2, queries="shared", positional_bias="sampled"),
        },
    ),
    "s4m-tiny-super-resolution, waveforms": (
        "s4m-tiny-super-resolution",
        {"super_resolution": TimeSuperResolutionConfig(hidden_dim=6, kernel_size=3, num_blocks=2)},
    ),
}
"""By name a preset and what it is changed in; none of these are presets, for none has been trained."""


def build(name: str) -> SeparationModel:
    """A preset, or one of `BEYOND`, made tiny."""
    preset, changes = BEYOND.get(name, (name, {}))
    return build_model(preset, **TINY[preset] | changes)


def distinct() -> list[str]:
    """Presets that differ in size alone are one when they are tiny."""
    assert PRESETS.keys() == TINY.keys(), "give every preset a tiny form in tests/conftest.py"
    tiny = {repr(replace(PRESETS[preset], **TINY[preset])): preset for preset in sorted(PRESETS)}
    return [*sorted(tiny.values()), *BEYOND]


pytestmark = pytest.mark.parametrize("preset", distinct())


@pytest.fixture
def model(preset):
    return build(preset)


def draw(model, num_samples, batch=2):
    return torch.randn(batch, model.spec.num_channels, num_samples) * 0.1


@pytest.mark.parametrize("num_samples", [1, 2, 31, 64, 997, 1733, 4000])
def test_any_length_comes_out_as_it_went_in(model, num_samples):
    with torch.inference_mode():
        estimates = model(draw(model, num_samples))
    assert estimates.shape == (2, model.spec.num_sources, model.spec.num_channels, num_samples)
    assert estimates.isfinite().all()


def test_rows_of_a_batch_do_not_influence_each_other(model):
    mixture = draw(model, 1501, batch=3)
    with torch.inference_mode():
        together = model(mixture)
        alone = torch.cat([model(row[None]) for row in mixture])
    assert torch.allclose(together, alone, atol=1e-6)


def test_silence_stays_finite(model):
    with torch.inference_mode():
        estimates = model(torch.zeros(1, model.spec.num_channels, 800))
    assert estimates.isfinite().all()


def test_evaluation_is_deterministic(model):
    mixture = draw(model, 800)
    with torch.inference_mode():
        assert torch.equal(model(mixture), model(mixture))


def test_forward_leaves_the_module_as_it_was(model):
    """But for the running averages of batch norms, which are what a forward in training is there for."""
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    model(draw(model, 800))
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())
    model.train()(draw(model, 800))
    after = {name: tensor for name, tensor in model.state_dict().items() if ".running_" not in f".{name}"}
    assert all(torch.equal(before[name], tensor) for name, tensor in after.items())


def test_every_parameter_gets_a_gradient(model):
    model.train()
    estimates = torch.stack(model.intermediate_estimates(draw(model, 2000)))
    (estimates * torch.randn(len(estimates), 2, model.spec.num_sources, 1, 2000)).sum().backward()
    missing = [name for name, value in model.named_parameters() if value.grad is None or not value.grad.any()]
    # The coarsest shift only moves what the masks let through; with so few features a ReLU may close a path entirely.
    assert not missing


def test_the_last_intermediate_estimate_is_the_one_that_comes_out(model):
    mixture = draw(model, 900)
    with torch.inference_mode():
        assert torch.equal(model.intermediate_estimates(mixture)[-1], model(mixture))


def test_gradient_checkpointing_changes_no_gradient_or_is_refused(model):
    mixture, gradients = draw(model, 800), []
    model.train()
    for enabled in (False, True):
        try:
            model.set_gradient_checkpointing(enabled)
        except ConfigError:
            return  # refused with a sentence, as for batch norms, whose averages would move twice
        model.zero_grad()
        torch.manual_seed(1)  # for dropout
        model(mixture).square().sum().backward()
        gradients.append([parameter.grad for parameter in model.parameters() if parameter.grad is not None])
    for plain, again in zip(*gradients, strict=True):
        assert torch.allclose(plain, again, atol=1e-6)


def test_it_is_built_without_memory_on_meta(model, preset):
    with torch.device("meta"):
        empty = build(preset)
    assert {name: value.shape for name, value in empty.state_dict().items()} == {
        name: value.shape for name, value in model.state_dict().items()
    }
    assert all(value.is_meta for value in empty.parameters())


def test_a_mixture_that_it_does_not_take_is_refused_in_one_sentence(model):
    channels = model.spec.num_channels
    for wrong in (
        torch.zeros(1, channels + 1, 100),
        torch.zeros(channels, 100),
        torch.zeros(1, 1, channels, 100),
        torch.zeros(1, channels, 0),
        torch.zeros(1, channels, 100, dtype=torch.int16),
        torch.zeros(1, channels, 100, dtype=torch.float64),
    ):
        with pytest.raises(SignalError, match=r"mixture|samples"):
            model(wrong)


def test_it_is_built_again_from_its_config(model):
    assert type(build_model(config_of(model))) is type(model)


def test_config_and_weights_make_a_round_trip(model, tmp_path):
    path = save_model(model, tmp_path / "model.safetensors")
    again = load_model(path)
    assert again.spec == model.spec
    mixture = draw(model, 700)
    with torch.inference_mode():
        assert torch.equal(again(mixture), model(mixture))


def test_bfloat16_runs_and_stays_close(model):
    mixture = draw(model, 2000)
    with torch.inference_mode():
        exact = model(mixture)
        with torch.autocast("cpu", torch.bfloat16):
            rough = model(mixture)
    assert rough.isfinite().all()
    assert (rough.float() - exact).square().mean() < 0.05 * exact.square().mean()


def test_level_is_carried_through(model):
    mixture = draw(model, 3000)
    with torch.inference_mode():
        soft, loud = model(mixture), model(10 * mixture)
    assert torch.allclose(10 * soft, loud, rtol=0.05, atol=0.02 * loud.abs().max())


def test_it_exports(model):
    mixture = draw(model, 1600)
    program = torch.export.export(model, (mixture,), strict=False)
    with torch.inference_mode():
        assert torch.allclose(program.module()(mixture), model(mixture), atol=1e-5)

"""Fine-tuning: what is taken over, what stays frozen, and adapters that end up in the weights."""

from dataclasses import replace

import pytest
import torch

from tests.training.tiny import CONFIG, checkpoint
from unbraid.errors import ConfigError, WeightsError
from unbraid.models.catalog import build_model
from unbraid.models.super_resolution.network import SuperResolutionConfig
from unbraid.models.super_resolution.wrapper import WithSuperResolutionConfig
from unbraid.training.adapt import add_adapters, freeze, merged, start_from
from unbraid.training.config import LoraConfig
from unbraid.training.fit import fit
from unbraid.weights.store import load_model, save_model


@pytest.fixture
def trained(tmp_path):
    return save_model(build_model(CONFIG.model), tmp_path / "trained.safetensors")


def test_a_run_starts_from_a_trained_model(trained, corpus_root, tmp_path, capsys):
    config = replace(CONFIG, optimiser=replace(CONFIG.optimiser, learning_rate=1e-9), steps=2)
    tuned = load_model(fit(config, corpus_root, tmp_path / "run", init=str(trained)))
    for name, tensor in load_model(trained).state_dict().items():
        assert (tensor - tuned.state_dict()[name]).abs().max() < 1e-6
    assert "kept 100% of the weights" in capsys.readouterr().err


def test_other_sources_and_rates_keep_what_fits(trained):
    model = build_model(replace(CONFIG.model, sources=("one", "two", "three")))
    report = start_from(model, str(trained))
    theirs = load_model(trained).state_dict()
    assert set(report.reshaped) == {"mask.weight", "mask.bias", "decoder.weight"}
    assert not report.new
    assert 0.3 < report.share < 1
    for name in report.kept:
        assert torch.equal(model.state_dict()[name], theirs[name])
    assert "begun anew: decoder.weight, mask.bias, mask.weight" in str(report)
    faster = build_model(replace(CONFIG.model, sample_rate=16_000))
    report = start_from(faster, str(trained))
    assert "encoder.weight" in report.reshaped
    assert "rounds.block.expand.weight" in report.kept


def test_where_nothing_fits_it_is_a_sentence(trained):
    model = torch.nn.ParameterDict({"elsewhere": torch.nn.Parameter(torch.zeros(3))})
    with pytest.raises(WeightsError, match="same architecture"):
        start_from(model, str(trained))


def test_frozen_parts_stay_as_they_are(corpus_root, tmp_path):
    config = replace(CONFIG, freeze=("encoder", "rounds.block"), steps=3)
    fit(config, corpus_root, tmp_path / "run")
    torch.manual_seed(0)
    state = checkpoint(tmp_path / "run")
    fit(replace(config, steps=5), corpus_root, tmp_path / "run", resume=True)
    later = checkpoint(tmp_path / "run")
    for name, tensor in later["current_model_state"].items():
        same = torch.equal(tensor, state["current_model_state"][name])
        assert same == name.startswith(("model.encoder.", "model.rounds.block.")), name


def test_a_part_that_is_not_there_is_a_sentence():
    with pytest.raises(ConfigError, match=r"'encod'.*encoder"):
        freeze(build_model(CONFIG.model), ("encod",))


def test_adapters_learn_alone_and_are_merged_in_what_is_written(trained, corpus_root, tmp_path):
    config = replace(CONFIG, lora=LoraConfig(rank=2, targets=("bottleneck", "mask")), steps=6)
    path = fit(config, corpus_root, tmp_path / "run", init=str(trained))
    before, after = load_model(trained).state_dict(), load_model(path).state_dict()
    assert before.keys() == after.keys()
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed <= {"bottleneck.weight", "mask.weight"}
    assert changed
    for name in changed:
        difference = (after[name] - before[name]).squeeze()
        assert torch.linalg.matrix_rank(difference, rtol=1e-3) <= 2
    learning = checkpoint(tmp_path / "run")["optimizer_states"][0]["state"]
    assert len(learning) == 4  # two matrices for each of the two layers


def test_merging_changes_nothing_that_is_heard():
    model = build_model(CONFIG.model)
    add_adapters(model, LoraConfig(rank=3))
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                parameter.normal_(std=0.05)
    mixture = torch.randn(1, 1, 3000)
    plain = merged(model)
    with torch.no_grad():
        assert torch.allclose(plain(mixture), model(mixture), atol=1e-4)
        assert not torch.allclose(plain(mixture), build_model(CONFIG.model)(mixture), atol=1e-2)
    assert plain.state_dict().keys() == build_model(CONFIG.model).state_dict().keys()


def test_layers_that_are_not_there_are_a_sentence():
    with pytest.raises(ConfigError, match="bottleneck"):
        add_adapters(build_model(CONFIG.model), LoraConfig(targets=("attention",)))


def test_a_separator_starts_inside_of_super_resolution_and_comes_out_again(trained, tmp_path):
    network = SuperResolutionConfig(window_ms=8.0, hidden_dims=(4,), kernel_sizes=(3, 3))
    wrapped = build_model(WithSuperResolutionConfig(separator=CONFIG.model, super_resolution=network))
    report = start_from(wrapped, str(trained))
    theirs = load_model(trained).state_dict()
    assert all(torch.equal(tensor, theirs[name]) for name, tensor in wrapped.separator.state_dict().items())
    assert {name.partition(".")[0] for name in report.new} == {"super_resolution"}
    path = save_model(wrapped, tmp_path / "wrapped.safetensors")
    assert start_from(build_model(CONFIG.model), str(path)).share == 1
    assert start_from(build_model(wrapped.config), str(path)).share == 1

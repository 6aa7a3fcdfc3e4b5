"""Every recipe has a model, names what it is, and runs in its smallest form."""

import json
from dataclasses import replace

import pytest
import torch
from typer.testing import CliRunner

from tests.training.tiny import checkpoint
from unbraid.cli.main import app
from unbraid.data.mixing.drawing import SpeakerMixing
from unbraid.models.catalog import build_model
from unbraid.recipes import BUNDLED, MTFA, RECIPES, S4M, SFC, SFSRNET
from unbraid.recipes.smoke import make_data, smoke
from unbraid.training.fit import fit
from unbraid.weights.store import inspect_model


@pytest.mark.parametrize("name", sorted(RECIPES))
def test_every_recipe_builds(name):
    recipe = RECIPES[name]
    config = recipe.config
    assert config.name == name
    build_model(smoke(config).model)
    assert recipe.model
    assert recipe.data
    assert recipe.row
    if isinstance(config.mixing, SpeakerMixing):
        with torch.device("meta"):
            sources = build_model(config.model).spec.sources
        assert len([source for source in sources if source != config.mixing.noise]) == config.mixing.num_speakers


def one_of_each_kind():
    """All recipes; those that differ from an earlier one in sizes and options of the model alone are slow tests."""
    seen, found = set(), []
    for name, recipe in RECIPES.items():
        run = recipe.config
        parts = [getattr(run.model, part, None) for part in ("separator", "compression")]
        parts += [getattr(run.mixing, part, None) for part in ("noise", "turns", "drawings")]
        traits = (run.model, run.mixing, run.schedule, *parts)
        kind = (*map(type, traits), run.loss, run.optimiser.name, run.multi_loss is None, run.averaging.keep_best > 1)
        found.append(pytest.param(name, marks=[pytest.mark.slow] if repr(kind) in seen else []))
        seen.add(repr(kind))
    return found


@pytest.mark.parametrize("name", one_of_each_kind())
def test_every_recipe_runs_in_its_smallest_form(name, tmp_path):
    config = smoke(RECIPES[name].config)
    best = fit(config, make_data(config, tmp_path / "data"), tmp_path / "run")
    facts = inspect_model(best).facts
    assert facts.get("recipe") == name or "average_of_steps" in facts
    assert (tmp_path / "run" / "last.ckpt").is_file()


def test_activations_computed_twice_change_nothing(tmp_path):
    """With dropout, so that what is random has to be the same both times."""
    config = smoke(RECIPES["sfc-ca-small-musdb"].config)
    data = make_data(config, tmp_path / "data")
    fit(config, data, tmp_path / "kept")
    fit(replace(config, gradient_checkpointing=True), data, tmp_path / "again")
    first, second = (checkpoint(tmp_path / run)["current_model_state"] for run in ("kept", "again"))
    assert all(torch.allclose(tensor, second[name], atol=1e-6) for name, tensor in first.items())


def test_no_two_recipes_have_one_name():
    assert len(RECIPES) == sum(map(len, (BUNDLED, S4M, SFC, MTFA, SFSRNET)))


def test_the_listing_names_them_all():
    result = CliRunner().invoke(app, ["train", "--list"])
    assert result.exit_code == 0
    assert all(name in result.stdout for name in RECIPES)


def test_smoke_on_the_command_line(tmp_path):
    result = CliRunner().invoke(app, ["train", "speech", "--smoke", "-o", str(tmp_path / "run"), "--set", "steps=2"])
    assert result.exit_code == 0, result.output
    assert json.loads((tmp_path / "run" / "config.json").read_text())["steps"] == 2


def test_settings_are_printed_as_set_takes_them():
    result = CliRunner().invoke(app, ["train", "speech", "--settings", "--set", "lora.rank=3"])
    assert result.exit_code == 0
    assert "  lora.rank=3" in result.stdout.splitlines()
    assert "  optimiser.learning_rate=0.001" in result.stdout.splitlines()


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--set", "schedule=Triangle"], "HalveOnPlateau"),
        (["--set", "optimiser.rate=1"], "learning_rate"),
        (["--set", 'loss.terms=[{"name": "sisnr"}]'], "si-sdr"),
        (["--smoke", "--devices", "none"], "--devices"),
        ([], "--data"),
        (["--smoke", "--set", "batch_size=auto"], "GPU"),
        (["--smoke", "--set", "freeze=encodr"], "encoder"),
    ],
)
def test_what_cannot_be_is_one_sentence(arguments, sentence, tmp_path):
    result = CliRunner().invoke(app, ["train", "speech", "-o", str(tmp_path / "run"), *arguments])
    assert result.exit_code == 1
    assert sentence in result.output
    assert "Traceback" not in result.output


def test_a_group_can_be_chosen_and_changed():
    arguments = [
        "--set",
        "schedule=HalveOnPlateau",
        "--set",
        "schedule.patience=3",
        "--set",
        "averaging.ema_decay=none",
        "--set",
        "validation.list_name=none",
    ]
    result = CliRunner().invoke(app, ["train", "speech", "--settings", *arguments])
    assert "  schedule.patience=3" in result.stdout.splitlines()
    assert "  averaging.ema_decay=None" in result.stdout.splitlines()
    assert "  validation.list_name=None" in result.stdout.splitlines()


def test_rows_of_sfsrnets_ablation_differ_in_what_they_say_only():
    runs = {row: RECIPES[f"sfsrnet-ablation-{row}"].config for row in ("plain", "same", "rising", "sr", "sr-heuristic")}
    runs["all"] = RECIPES["sfsrnet-wsj0-2mix-dm"].config
    common = [replace(run, name="", model=runs["plain"].model, multi_loss=None) for run in runs.values()]
    assert all(run == common[0] for run in common)
    with torch.device("meta"):
        heads = {
            row: len(getattr(model := build_model(run.model), "separator", model).heads) for row, run in runs.items()
        }
    assert heads == {"plain": 1, "same": 8, "rising": 8, "sr": 1, "sr-heuristic": 1, "all": 8}
    assert [run.model.super_resolution.heuristic for run in list(runs.values())[3:]] == ["none"] + 2 * [
        "mixture-over-estimate"
    ]
    assert runs["all"].multi_loss.rates_hz(8, 8000) == (500, 1000, 2000, 3000, 4000, 5000, 8000, 8000)
    assert runs["same"].multi_loss.rates_hz(8, 8000) == (8000,) * 8

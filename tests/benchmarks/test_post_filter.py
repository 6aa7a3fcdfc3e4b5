"""The training of post-filters: begins where the bundled one stands, writes a model, and goes on from its state."""

import json
import sys
from dataclasses import replace

from benchmarks.training import post_filter

from unbraid.data.mixing.drawing import SpeakerMixing
from unbraid.models.super_resolution.wrapper import WithSuperResolution
from unbraid.recipes import RECIPES
from unbraid.weights.store import inspect_model, load_model


def test_it_trains_on_a_separator_that_stays_as_it_is(corpus_root, tmp_path, monkeypatch):
    monkeypatch.setattr(post_filter, "_FIRST", 3)
    recipe = RECIPES["speech-post-filter"]
    short = replace(recipe.config, mixing=SpeakerMixing(segment_seconds=0.5))
    short = replace(short, validation=replace(short.validation, items=2))
    monkeypatch.setitem(RECIPES, "speech-post-filter", replace(recipe, config=short))
    for steps in (2, 3):
        arguments = ["speech", str(corpus_root), str(tmp_path), "--steps", str(steps), "--batch-size", "2", "--new"]
        arguments += ["--set", "model.both_polarities=true"]
        monkeypatch.setattr(sys, "argv", ["post_filter", *arguments])
        post_filter.main()
    steps = [json.loads(line)["step"] for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert steps == [2, 3]
    trained, bundled = load_model(tmp_path / "best.safetensors"), load_model("speech")
    assert isinstance(trained, WithSuperResolution)
    assert trained.both_polarities
    assert inspect_model(tmp_path / "best.safetensors").facts["post_filter_steps"] in (2, 3)
    separator = bundled.separator if isinstance(bundled, WithSuperResolution) else bundled
    for ours, theirs in zip(trained.separator.parameters(), separator.parameters(), strict=True):
        assert ours.equal(theirs)

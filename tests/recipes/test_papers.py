"""What the recipes of the papers' rows set, point by point, against what the papers say."""

from __future__ import annotations

import pytest

from tests.data.builders import noise, write
from unbraid.models.contract import ModelSpec
from unbraid.models.dprnn.model import DPRNNConfig
from unbraid.models.sepformer.model import SepFormerConfig
from unbraid.models.super_resolution.wrapper import WithSuperResolutionConfig
from unbraid.recipes import RECIPES
from unbraid.training.run_examples import Examples

SPEAKERS = {
    "sample_rate": 8000,
    "num_channels": 1,
    "sources": ("speaker1", "speaker2"),
    "exchangeable": True,
    "chunk_seconds": 4.0,
}
READINGS = ("pyramid", "patterns", "light", "global")


@pytest.mark.parametrize(
    ("name", "stride", "chunk", "refined"),
    [
        ("1-200", 1, 200, False),
        ("8-200", 8, 200, False),
        ("8-200-sr", 8, 200, True),
        ("8-50", 8, 50, False),
        ("8-50-sr", 8, 50, True),
    ],
)
def test_sfsrnets_table_4_is_of_dprnn_and_guesses_no_high_band(name, stride, chunk, refined):
    run = RECIPES[f"sfsrnet-dprnn-{name}"].config
    model = run.model
    if refined:
        assert isinstance(model, WithSuperResolutionConfig)
        assert model.super_resolution.heuristic == "none"
        model = model.separator
    assert type(model) is DPRNNConfig
    assert (model.stride_samples, model.kernel_samples, model.chunk_frames) == (stride, 2 * stride, chunk)
    assert (model.dim, model.num_blocks, model.sequence.hidden_dim) == (64, 6, 128)
    assert (run.multi_loss is not None) == refined


@pytest.mark.parametrize(
    ("name", "rate", "layout", "seconds", "per_epoch"),
    [
        ("sepformer-libri2mix-100", 8000, "librimix:clean,train-100", 3.0, 13_900),
        ("sepformer-lrs2-2mix", 16_000, "lrs2-mix", 2.0, 20_000),
    ],
)
def test_s4ms_baselines_learn_from_what_s4m_learns_from(name, rate, layout, seconds, per_epoch):
    run = RECIPES[name].config
    assert run.model == SepFormerConfig(sample_rate=rate)
    assert (run.layout, run.mixing.segment_seconds) == (layout, seconds)
    assert run.validation.every * run.batch_size == per_epoch
    assert run.optimiser.learning_rate == 15e-5
    assert run.loss == RECIPES["s4m-tiny-lrs2-2mix"].config.loss


def test_sepformer_passes_over_what_is_better_than_30_db_and_s4m_does_not():
    assert (RECIPES["sepformer-wsj0-2mix"].config.loss.floor_db, RECIPES["s4m-wsj0-2mix"].config.loss.floor_db) == (
        -30.0,
        -30.0,
    )
    assert RECIPES["sepformer-wsj0-2mix"].config.loss.below_floor == "skip"
    assert RECIPES["s4m-wsj0-2mix"].config.loss.below_floor == "mean"


@pytest.mark.parametrize(("name", "epochs"), [("sfsrnet-wsj0-2mix", 50), ("sepformer-wsj0-2mix", 85)])
def test_the_rate_is_level_for_as_many_epochs_as_the_papers_say(name, epochs):
    run = RECIPES[name].config
    assert run.schedule.hold_steps == epochs * run.validation.every
    assert run.schedule.patience == 2


@pytest.mark.parametrize("name", ["sfsrnet-wsj0-2mix-dm", "sepformer-wsj0-2mix-dm", "sfsrnet-ablation-rising"])
def test_wsj0_is_mixed_from_itself_and_validated_on_the_mixtures_of_cv(name, tmp_path):
    for speaker in ("011", "01a"):
        write(tmp_path / "wsj0" / "si_tr_s" / speaker / f"{speaker}c0201.wav", noise(speaker))
    for source in ("mix", "s1", "s2"):
        for split in ("tr", "cv"):
            folder = tmp_path / "wsj0-mix" / "2speakers" / "wav8k" / "min" / split / source
            write(folder / "050a0501_1.0_051a0501_-1.0.wav", noise(source))
    run = RECIPES[name].config
    examples = Examples(run, ModelSpec(**SPEAKERS), tmp_path)
    assert [item.labels["speaker"] for item in examples._train.items] == ["011", "01a"]
    assert examples.describe_validation() == "1 items of the split 'valid'"
    (item,) = examples._valid[0]
    assert item.references.shape[0] == 2


@pytest.mark.parametrize("name", ["resunet-musdb", "mtfa-musdb", "mtfa-small-musdb"])
def test_the_backbones_authors_train_on_all_songs_with_their_silence(name):
    run = RECIPES[name].config
    assert run.layout == "auto:full-train"
    drawing = run.mixing.drawing
    assert (drawing.silence, drawing.weights, drawing.num_pieces) == ("kept", "seconds", (2, 2))
    assert RECIPES["mtfa-ablation-levels"].config.layout == "auto", "14 songs are held out"


def test_each_reading_of_several_scales_and_each_form_of_the_module_has_a_recipe():
    found = {name: RECIPES[f"mtfa-ablation-levels-{name}"].config.model.attention for name in READINGS}
    assert found["pyramid"].pyramid == (1, 2, 4)
    assert found["patterns"].patterns == (1, 3)
    assert [found[name].form for name in READINGS] == ["axial", "axial", "light", "global"]


def test_sfc_has_an_ablation_with_a_fixed_bias():
    assert RECIPES["sfc-ca-small-musdb-fixed"].config.model.compression.positional_bias == "fixed"

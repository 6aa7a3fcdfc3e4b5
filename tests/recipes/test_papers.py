"""What the recipes of the papers' rows set, point by point, against what the papers say."""

from __future__ import annotations

import pytest

from unbraid.models.dprnn.model import DPRNNConfig
from unbraid.models.super_resolution.wrapper import WithSuperResolutionConfig
from unbraid.recipes import RECIPES


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

"""What SFC-CA looks at: the numbers are those of its own forward, and the pictures are there."""

from itertools import count

import numpy as np
import pytest
import torch

from tests.conftest import TINY
from unbraid.errors import ConfigError
from unbraid.inspection.attention import analyse_attention, confidence
from unbraid.models.catalog import build_model
from unbraid.models.sfc.cross_attention import CrossAttentionConfig
from unbraid.models.super_resolution.post_filter import PostFilterConfig
from unbraid.models.super_resolution.wrapper import WithSuperResolution
from unbraid.pictures.attention import write_attention

MIXTURE = 0.1 * torch.randn(2, 4001, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def model():
    return build_model("sfc-ca-small", **TINY["sfc-ca-small"])


def test_every_band_spreads_a_weight_of_one_in_every_frame_and_head(model):
    analysis = analyse_attention(model, MIXTURE)
    assert [one.name for one in analysis.maps] == ["mixture", *model.spec.sources]
    for one in analysis.maps:
        heads, freqs, frames = one.received.shape
        assert (heads, freqs) == (2, 33)
        assert one.level_db.shape == (freqs, frames)
        assert np.allclose(one.received.sum(axis=1), 8, atol=1e-4)
        assert np.allclose(one.by_band.sum(axis=-1), 1, atol=1e-5)
        assert one.moved.shape == (2, 8)


def test_the_weights_are_those_that_forward_uses(model):
    encoder = model.core.encoder
    tokens = torch.randn(3, 33, 8)
    attention, block = encoder.block.attention, encoder.block
    queries, known = block.query_norm(encoder.queries(tokens)), block.token_norm(tokens)
    with torch.inference_mode():
        value = attention.project(queries, known)[2]
        by_hand = attention.out((encoder.attention(tokens) @ value).transpose(1, 2).flatten(2))
        assert torch.allclose(by_hand, attention(queries, known, encoder.bias()), atol=1e-5)


def test_below_a_post_filter_it_is_the_separators(model):
    alone = analyse_attention(model, MIXTURE)
    refined = analyse_attention(
        WithSuperResolution(model, PostFilterConfig(narrow_bands=32, num_bands=8)).eval(), MIXTURE
    )
    assert np.array_equal(refined.maps[0].received, alone.maps[0].received)
    assert not np.array_equal(refined.maps[1].level_db, alone.maps[1].level_db)
    assert refined.bin_hz == alone.bin_hz


def test_it_follows_the_input(model):
    """A tone draws attention that it does not get where it is not; a band split could not do that."""
    for parameter in model.core.encoder.block.attention.parameters():
        parameter.data *= 3
    tone = 0.1 * torch.sin(2 * torch.pi * 1000 * torch.arange(4000) / 8000).expand(2, -1)
    first, second = analyse_attention(model, tone).maps[0], analyse_attention(model, MIXTURE).maps[0]
    assert np.abs(first.by_band - second.by_band).max() > 0.01
    assert second.moved.mean() > 0.01
    for parameter in model.core.encoder.block.attention.parameters():
        parameter.data *= 0
    assert analyse_attention(model, MIXTURE).maps[0].moved.max() < 1e-5


def test_what_moved_is_the_weight_that_lies_elsewhere_than_on_average(model, monkeypatch):
    """Two frames with all weight on one bin, two with all on another: half of it is elsewhere than in the mean."""
    frames = count()

    def attention(rows):
        weights = torch.zeros(len(rows), 2, 8, 33)
        for weight in weights:
            weight[..., next(frames) % 2] = 1
        return weights

    monkeypatch.setattr(model.core.encoder, "attention", attention)
    assert np.allclose(analyse_attention(model, MIXTURE).maps[0].moved, 0.5, atol=0.01)


def test_the_bias_before_training_is_the_initial_one(model):
    for bias in analyse_attention(model, MIXTURE).biases:
        assert np.array_equal(bias.learned, np.broadcast_to(bias.initial, bias.learned.shape))


def test_confidence_is_one_for_one_choice_and_nothing_for_even_weights():
    weights = torch.tensor([[[[1.0, 0, 0, 0], [0.25, 0.25, 0.25, 0.25], [0.5, 0.5, 0, 0]]]])
    assert confidence(weights)[0].tolist() == pytest.approx([1, 0, 0.5])
    both = torch.cat([weights, weights.roll(1, dims=2)], dim=1)
    assert confidence(both)[0].tolist() == pytest.approx([0.75, 0.5, 0.25])


def test_confidence_of_bins_is_that_of_the_weights_that_the_decoder_uses(model):
    taken = []
    decoder = model.core.decoder
    hook = decoder.block.register_forward_pre_hook(lambda block, given: taken.append(block.weights(*given)))
    with torch.inference_mode():
        model(MIXTURE.unsqueeze(0))
    hook.remove()
    one = analyse_attention(model, MIXTURE).maps[0]
    assert np.allclose(one.bin_confidence, confidence(torch.cat(taken)).T.numpy(), atol=1e-5)
    assert one.band_confidence.shape == (8, one.level_db.shape[1])


def test_pictures_and_arrays_are_written(model, tmp_path):
    paths = write_attention(analyse_attention(model, MIXTURE), tmp_path / "new")
    pictures = [path for path in paths if path.suffix == ".png"]
    assert len(pictures) == 2 * (1 + 4) + 2
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in pictures)
    with np.load(tmp_path / "new" / "attention.npz") as arrays:
        assert arrays["vocals_received"].shape[0] == 2
        assert arrays["vocals_bin_confidence"].shape == arrays["vocals_level_db"].shape
        assert arrays["decoder_bias_learned"].shape == (2, 8, 33)
        assert arrays["bin_hz"] == 125


@pytest.mark.parametrize("preset", ["s4m-tiny", "bs-small", "sfc-mamba-small"])
def test_models_without_attention_are_refused(preset):
    model = build_model(preset, **TINY[preset])
    with pytest.raises(ConfigError, match="no cross-attention"):
        analyse_attention(model, MIXTURE[: model.spec.num_channels])


def test_adaptive_queries_and_no_bias_are_shown_too():
    tiny = TINY["sfc-ca-small"] | {
        "compression": CrossAttentionConfig(inner_dim=8, num_heads=2, queries="adaptive", positional_bias="none")
    }
    analysis = analyse_attention(build_model("sfc-ca-small", **tiny), MIXTURE)
    assert analysis.biases == ()

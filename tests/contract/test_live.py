"""What models/live.py promises, for every preset of the catalog that separates while the sound arrives."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.conftest import TINY
from unbraid.errors import ConfigError, SignalError
from unbraid.models.catalog import PRESETS, build_model

LIVE = [preset for preset in sorted(PRESETS) if build_model(preset, **TINY[preset]).spec.latency_samples is not None]


def build(preset):
    torch.manual_seed(0)
    return build_model(preset, **TINY[preset])


def draw(model, num_samples, batch=2):
    return torch.randn(batch, model.spec.num_channels, num_samples) * 0.1


@pytest.mark.parametrize("preset", LIVE)
@settings(deadline=None, max_examples=25)
@given(sizes=st.lists(st.integers(0, 900), max_size=12))
def test_pieces_of_any_sizes_give_what_the_whole_gives(preset, sizes):
    model = build(preset)
    mixture = draw(model, max(sum(sizes), 1))
    session = model.open_session(batch_size=2)
    with torch.inference_mode():
        whole = model(mixture)
    pieces = list(mixture.split([*sizes, mixture.shape[-1] - sum(sizes)], dim=-1))
    for _ in range(2):  # A session that was flushed begins anew.
        outputs, pushed, given = [], 0, 0
        for piece in pieces:
            outputs.append(session.push(piece))
            pushed, given = pushed + piece.shape[-1], given + outputs[-1].shape[-1]
            assert pushed - given < session.latency_samples
        outputs.append(session.flush())
        torch.testing.assert_close(torch.cat(outputs, dim=-1), whole, atol=1e-5 * whole.abs().max().item(), rtol=0)


@pytest.mark.parametrize("preset", LIVE)
def test_nothing_depends_on_what_comes_later_than_the_latency(preset):
    model = build(preset)
    mixture = draw(model, 3000)
    latency = model.spec.latency_samples
    assert latency is not None
    with torch.inference_mode():
        before = model(mixture)
        for place in (1000, 1111, 2500):
            changed = mixture.clone()
            changed[..., place:] = 10 * draw(model, 3000 - place)
            after = model(changed)
            difference = (after - before).abs().amax((0, 1, 2)) > 1e-5 * before.abs().max()
            first = int(difference.nonzero()[0])
            assert place - latency < first <= place + latency


@pytest.mark.parametrize("preset", LIVE)
def test_what_a_session_keeps_does_not_grow(preset):
    model = build(preset)
    session = model.open_session()
    kept = []
    for _ in range(30):
        session.push(draw(model, 1024, batch=1))
        kept.append(session.num_values)
    assert len(set(kept)) == 1


@pytest.mark.parametrize("preset", LIVE)
def test_samples_that_are_no_numbers_leave_the_session_as_it_was(preset):
    model = build(preset)
    mixture = draw(model, 2000, batch=1)
    poisoned, clean = model.open_session(), model.open_session()
    outputs = [poisoned.push(mixture[..., :700])]
    bad = mixture[..., 700:].clone()
    bad[..., 5] = float("nan")
    with pytest.raises(SignalError, match="NaN"):
        poisoned.push(bad)
    outputs += [poisoned.push(mixture[..., 700:]), poisoned.flush()]
    right = torch.cat([clean.push(mixture), clean.flush()], dim=-1)
    torch.testing.assert_close(torch.cat(outputs, dim=-1), right, atol=1e-6, rtol=0)
    with pytest.raises(SignalError, match="takes"):
        poisoned.push(mixture[:, :, :0].repeat(2, 1, 1))


def test_a_model_that_looks_ahead_says_so():
    with pytest.raises(ConfigError, match="s4m-live"):
        build("s4m-tiny").open_session()
    with pytest.raises(ConfigError, match="bidirectional"):
        build_model("s4m-live", state_space=PRESETS["s4m-tiny"].state_space)

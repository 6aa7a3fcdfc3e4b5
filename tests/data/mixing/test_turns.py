"""Who speaks when in a drawn mixture."""

import numpy as np
import pytest

from tests.data.made import spec, utterances
from unbraid.data.mixing.drawing import SpeakerMixing, build_drawer
from unbraid.data.mixing.turns import Turns
from unbraid.errors import ConfigError

RATE, SAMPLES = 1000, 4000


def taken(turns, speakers=2, count=200):
    """(mixture, speaker, sample) of speakers that never pause by themselves, and are told apart by their level."""
    generator = np.random.default_rng(0)
    speech = np.ones((speakers, 1, SAMPLES), np.float32) * np.arange(1, speakers + 1, dtype=np.float32)[:, None, None]
    return np.stack([turns.take(speech, RATE, generator)[:, 0] for _ in range(count)])


def test_as_it_comes_everybody_speaks_all_the_time_and_nothing_is_drawn():
    generator = np.random.default_rng(0)
    speech = np.ones((2, 1, SAMPLES), np.float32)
    assert Turns().take(speech, RATE, generator) is speech
    assert generator.random() == np.random.default_rng(0).random()


@pytest.mark.parametrize("speakers", [2, 3])
def test_a_share_has_one_speaker_alone_each_as_often(speakers):
    heard = taken(Turns(alone_share=0.5), speakers).any(-1)
    alone = heard.sum(-1) == 1
    assert (alone | heard.all(-1)).all()
    assert alone.mean() == pytest.approx(0.5, abs=0.1)
    assert heard[alone].mean(0) == pytest.approx(1 / speakers, abs=0.15)


@pytest.mark.parametrize("speakers", [2, 3])
def test_turns_cover_the_mixture_and_overlap_as_asked(speakers):
    speech = taken(Turns(turns_share=1.0, overlap_seconds=(0.2, 0.4)), speakers)
    for mixture in speech > 0:
        assert mixture.any(0).all()
        assert mixture.any(-1).all()
        assert not mixture.all(-1).any()
        changes = speakers - 1
        # Where two turns are short, three of them may meet.
        assert (mixture.sum(0) - 1).sum() <= changes * 0.4 * RATE + 1
        assert (mixture.sum(0) - 1).sum() >= changes * 0.2 * RATE - 40 * changes
    first = (speech[..., 0] > 0).mean(0)
    assert first == pytest.approx(1 / speakers, abs=0.15)


def test_below_zero_the_overlap_is_a_pause_and_nothing_clicks():
    speech = taken(Turns(turns_share=1.0, overlap_seconds=(-0.3, -0.3)))
    silent = ~(speech > 0).any(1)
    assert silent.sum(-1) == pytest.approx(300, abs=25)
    assert np.abs(np.diff(speech[:, 0])).max() < 0.11


def test_drawn_mixtures_are_still_the_sum_of_their_references(tmp_path):
    data = utterances(tmp_path)
    turns = Turns(alone_share=0.5, turns_share=0.5)
    model = spec(("a", "b"), channels=1, exchangeable=True)
    drawer = build_drawer(data, SpeakerMixing(segment_seconds=0.8, turns=turns), model)
    examples = [drawer.draw(0, index) for index in range(30)]
    alone = 0
    for example in examples:
        assert example.mixture.dtype == example.references.dtype
        assert (example.mixture - example.references.sum(0)).abs().max() < 1e-6
        assert example.present.all()
        alone += not example.references.any(-1).all()
    assert 8 <= alone <= 22


def test_shares_and_overlaps_that_cannot_be_are_refused():
    with pytest.raises(ConfigError, match="alone_share and turns_share"):
        Turns(alone_share=0.6, turns_share=0.5)
    with pytest.raises(ConfigError, match=r"alone_share is .* from 0 to 1"):
        Turns(alone_share=-0.1)
    with pytest.raises(ConfigError, match="low to high"):
        Turns(overlap_seconds=(1.0, 0.0))

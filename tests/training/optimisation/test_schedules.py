"""Learning rates over a run, in closed form and in a run."""

from dataclasses import replace
from types import SimpleNamespace
from unittest.mock import MagicMock

import lightning.pytorch as lightning
import pytest

from tests.training.tiny import CONFIG, checkpoint, logged
from unbraid.errors import ConfigError
from unbraid.training.callbacks.patience import Plateau
from unbraid.training.config import HalveOnPlateau, Trapezoid, WarmupDecay
from unbraid.training.fit import fit
from unbraid.training.task import SeparationTask


def test_a_trapezoid_goes_up_stays_and_goes_down():
    schedule = Trapezoid(warmup_steps=10, decay_share=0.5)
    rates = [schedule.share(step, 100) for step in range(101)]
    assert rates[0] == pytest.approx(0.1)
    assert rates[10:50] == [1.0] * 40
    assert rates[75] == pytest.approx(0.5)
    assert rates[100] == 0


@pytest.mark.parametrize(
    ("schedule", "steps", "last"),
    [
        # The published final factors of SFC's two runs.
        (WarmupDecay(decay_from=60_500, decay_every=220, decay_factor=0.98), 99_000, 0.029),
        (WarmupDecay(decay_from=101_550, decay_every=1354, decay_factor=0.96), 203_100, 0.047),
    ],
)
def test_warm_up_and_decay_end_where_published(schedule, steps, last):
    assert schedule.share(0, steps) == 1 / 5000
    assert schedule.share(4999, steps) == schedule.share(schedule.decay_from, steps) == 1
    assert schedule.share(schedule.decay_from + schedule.decay_every, steps) == schedule.decay_factor
    assert schedule.share(steps, steps) == pytest.approx(last, abs=5e-4)


def test_the_rate_is_halved_where_validation_brings_nothing(corpus_root, tmp_path):
    """A rate of next to nothing: the first validation is the best, or as good as every other."""
    config = replace(
        CONFIG,
        optimiser=replace(CONFIG.optimiser, learning_rate=1e-15, state_space_learning_rate=None),
        schedule=HalveOnPlateau(patience=1, hold_steps=4),
        validation=replace(CONFIG.validation, every=2),
        log=replace(CONFIG.log, every=1),
        steps=12,
    )
    fit(config, corpus_root, tmp_path / "run")
    state = checkpoint(tmp_path / "run")["callbacks"]["Plateau"]
    rates = logged(tmp_path / "run", "learning_rate")
    assert rates[0] == pytest.approx(1e-15)
    assert rates[-1] == pytest.approx(state["share"] * 1e-15, rel=0.6)
    assert state["share"] in (0.25, 0.5)
    assert rates == sorted(rates, reverse=True)


@pytest.mark.parametrize("hold", [50, 85])
def test_a_rate_that_is_level_for_so_many_epochs_is_halved_three_epochs_later_at_the_earliest(hold):
    """SFSRNet: level for 50 epochs, and then halved when three validations in a row have brought nothing."""
    plateau, task = Plateau(HalveOnPlateau(hold_steps=hold * 10, patience=2)), MagicMock(spec=SeparationTask)
    task.goodness.side_effect = [1.0] + 99 * [0.5]
    halved = []
    for epoch in range(1, hold + 5):
        trainer = MagicMock(spec=lightning.Trainer, global_step=10 * epoch, sanity_checking=False)
        trainer.state = SimpleNamespace(fn="fit")
        plateau.on_validation_epoch_end(trainer, task)
        if plateau.share < 1:
            halved.append(epoch)
    assert halved[0] == hold + 3


def test_settings_out_of_range_are_sentences():
    with pytest.raises(ConfigError, match="decay_share"):
        Trapezoid(decay_share=1.5)
    with pytest.raises(ConfigError, match="factor"):
        HalveOnPlateau(factor=2.0)

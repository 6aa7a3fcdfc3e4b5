"""What is made of estimates: remixes. Pairs and residuals are tested with the separator."""

from __future__ import annotations

import math

import numpy as np
import pytest

from unbraid.errors import ConfigError, UnknownNameError
from unbraid.separation.config import SeparationConfig
from unbraid.separation.stems import StemPlan, parse_remix

SOURCES = ("dialogue", "music", "effects")


def plan_of(**settings) -> StemPlan:
    return StemPlan(sources=SOURCES, config=SeparationConfig(**settings))


@pytest.fixture
def signals() -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(0)
    estimates = generator.standard_normal((3, 2, 500)).astype(np.float32)
    return estimates, estimates.sum(axis=0) + generator.standard_normal((2, 500)).astype(np.float32)


def test_gains_of_zero_leave_the_recording(signals):
    plan = plan_of(remix={"dialogue": 0.0, "music": 0.0})
    assert plan.names == (*SOURCES, "remix")
    assert np.array_equal(plan.apply(*signals)[-1], signals[1])


def test_gains_change_what_the_model_found_and_keep_the_rest(signals):
    estimates, mixture = signals
    plan = plan_of(remix={"dialogue": 20.0, "effects": -math.inf})
    expected = mixture + 9 * estimates[0] - estimates[2]
    np.testing.assert_allclose(plan.apply(estimates, mixture)[-1], expected, atol=1e-5)


def test_a_remix_stands_beside_a_pair_and_a_residual(signals):
    plan = plan_of(two_stems="dialogue", consistency="residual", remix={"music": 6.0})
    assert plan.names == ("dialogue", "no_dialogue", "residual", "remix")
    assert plan.apply(*signals).shape == (4, 2, 500)


@pytest.mark.parametrize("method", ["add", "minus"])
def test_a_pair_and_its_residual_add_up_to_the_mixture(signals, method):
    """The residual is counted once: what has a stem of its own is not in the rest as well."""
    plan = plan_of(two_stems="dialogue", other_method=method, consistency="residual")
    estimates, mixture = signals
    stems = plan.apply(estimates, mixture)
    np.testing.assert_allclose(stems.sum(axis=0), mixture, atol=1e-5)
    np.testing.assert_allclose(stems[1], estimates[1] + estimates[2], atol=1e-5)


def test_without_a_residual_stem_minus_is_all_the_rest(signals):
    estimates, mixture = signals
    stems = plan_of(two_stems="dialogue", other_method="minus").apply(estimates, mixture)
    np.testing.assert_allclose(stems[1], mixture - estimates[0], atol=1e-6)


def test_gains_are_read_as_people_write_them():
    assert parse_remix(["dialogue=+6, music=-3dB", "effects=off"]) == {
        "dialogue": 6.0,
        "music": -3.0,
        "effects": -math.inf,
    }
    assert parse_remix([]) == {}


@pytest.mark.parametrize("text", ["dialogue", "=6", "dialogue=loud", "dialogue=6=7"])
def test_what_is_no_gain_is_refused(text):
    with pytest.raises(ConfigError, match="`remix=dialogue=\\+6,music=off`"):
        parse_remix([text])


def test_unknown_stems_and_absurd_gains_are_refused():
    with pytest.raises(UnknownNameError, match="'vocals'; it has: dialogue"):
        plan_of(remix={"vocals": 3.0})
    with pytest.raises(ConfigError, match="at most 40 dB"):
        plan_of(remix={"music": 60.0})
    with pytest.raises(ConfigError, match="at most 40 dB"):
        plan_of(remix={"music": math.nan})

"""Settings of separation: what they may be, whoever gives them."""

from __future__ import annotations

import math
from copy import copy

import pytest

from unbraid.errors import ConfigError
from unbraid.separation.config import SeparationConfig


@pytest.mark.parametrize(
    ("name", "value", "allowed"),
    [
        ("join", "fades", "'fade', 'average' or 'centre'"),
        ("consistency", "residuals", "'none', 'residual' or 'distribute'"),
        ("tracking", "offline", "'recording' or 'online'"),
        ("other_method", "x", "'none', 'add' or 'minus'"),
        ("segment_seconds", "all", "'whole'"),
        ("segment_seconds", math.nan, "finite"),
        ("overlap", 0.96, "from 0 to 0.95"),
        ("batch_size", 0, "at least 1"),
        ("shifts", 1.5, "a whole number"),
        ("seed", -1, "at least 0"),
        ("replace_nonfinite", "yes", "True or False"),
        ("remix", {"music": "loud"}, "at most 40 dB"),
    ],
)
def test_what_is_not_allowed_is_said_in_one_sentence(name: str, value: object, allowed: str):
    config = copy(SeparationConfig())
    # The test run's own check of types stands before __init__ only.
    object.__setattr__(config, name, value)
    with pytest.raises(ConfigError, match=allowed) as raised:
        config.__post_init__()
    assert name in str(raised.value)


def test_settings_come_by_their_names():
    config = SeparationConfig.of({"shifts": 2, "remix": {"music": -math.inf}})
    assert config.changed() == {"shifts": 2, "remix": {"music": -math.inf}}
    assert SeparationConfig().changed() == {}
    with pytest.raises(ConfigError, match="no setting 'segments' of separation; there are: segment_seconds, overlap"):
        SeparationConfig.of({"segments": 3.0})

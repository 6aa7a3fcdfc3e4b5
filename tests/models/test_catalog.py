"""The catalog: every preset is of an architecture that weights files can name."""

import pytest

from unbraid.models.catalog import ARCHITECTURES, PRESETS, architecture_name


@pytest.mark.parametrize("preset", sorted(PRESETS))
def test_every_preset_belongs_to_an_architecture(preset):
    config = PRESETS[preset]
    assert type(config) is ARCHITECTURES[architecture_name(config)][0]

"""What augmentations have in common."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from unbraid.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class Occasional:
    """What all augmentations have."""

    probability: float = 0.5
    """Of being done to a piece."""

    def __post_init__(self) -> None:
        if not 0 <= self.probability <= 1:
            raise ConfigError(f"probability lies between 0 and 1, not {self.probability}")

    @property
    def stretch(self) -> float:
        """How many times longer the piece is best read."""
        return 1.0


def check_range(name: str, bounds: tuple[float, float], least: float = -np.inf) -> None:
    """Refuses a range that is upside down or begins below `least`."""
    if not least <= bounds[0] <= bounds[1]:
        floor = f" and begins at {least} or above" if np.isfinite(least) else ""
        raise ConfigError(f"goes from low to high{floor}, not {bounds}", subject=name)

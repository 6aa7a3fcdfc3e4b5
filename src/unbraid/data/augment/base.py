"""What augmentations have in common."""

from __future__ import annotations

from dataclasses import dataclass

from unbraid.options import Share, check_options


@dataclass(frozen=True, kw_only=True)
class Occasional:
    """What all augmentations have."""

    probability: Share = 0.5
    """Of being done to a piece."""

    def __post_init__(self) -> None:
        check_options(self)

    @property
    def stretch(self) -> float:
        """How many times longer the piece is best read."""
        return 1.0

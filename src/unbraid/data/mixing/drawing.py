"""Training examples, drawn from a data set by their number alone.

An example is a pure function of (seed, index). So no two workers draw the same, and a resumed run takes the very
next example, without any state to keep.
"""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from unbraid.data.items import Dataset, Example
from unbraid.data.mixing.given_mixtures import GivenDrawer, GivenMixtures
from unbraid.data.mixing.speaker_mixing import SpeakerDrawer, SpeakerMixing
from unbraid.data.mixing.stem_mixing import StemDrawer, StemMixing
from unbraid.models.contract import ModelSpec

__all__ = ["Drawer", "GivenMixtures", "Mixing", "SpeakerMixing", "StemMixing", "build_drawer", "draw_example"]

Mixing = SpeakerMixing | StemMixing | GivenMixtures


@runtime_checkable
class Drawer(Protocol):
    """What a mixing makes of a data set and the spec of a model: it knows where everything is, and draws."""

    def draw(self, seed: int, index: int) -> Example: ...


def build_drawer(dataset: Dataset, mixing: Mixing, spec: ModelSpec) -> Drawer:
    """Looks the data set through once; refuses a model, data and mixing that do not go together."""
    match mixing:
        case SpeakerMixing():
            return SpeakerDrawer(dataset, mixing, spec)
        case StemMixing():
            return StemDrawer(dataset, mixing, spec)
        case GivenMixtures():
            return GivenDrawer(dataset, mixing, spec)


def draw_example(dataset: Dataset, mixing: Mixing, spec: ModelSpec, seed: int, index: int) -> Example:
    """Training example `index` of the run with this seed. For many of them, `build_drawer` once and draw."""
    return build_drawer(dataset, mixing, spec).draw(seed, index)

"""Audio source separation: a recording in, one file per source out.

>>> import unbraid
>>> stems = unbraid.Separator("speech").separate("talk.wav")  # doctest: +SKIP
>>> stems["speaker1"].write("first.wav")  # doctest: +SKIP

Names are resolved on first use, so that `import unbraid` costs nothing until torch is needed.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

__version__ = "0.1.0"

if TYPE_CHECKING:
    from unbraid.audio.recording import Recording
    from unbraid.models.catalog import build_model
    from unbraid.separation.separator import Separator
    from unbraid.weights.store import list_models, load_model, save_model

__all__ = ["Recording", "Separator", "__version__", "build_model", "list_models", "load_model", "save_model"]

_HOME = {
    "Recording": "unbraid.audio.recording",
    "Separator": "unbraid.separation.separator",
    "build_model": "unbraid.models.catalog",
    "list_models": "unbraid.weights.store",
    "load_model": "unbraid.weights.store",
    "save_model": "unbraid.weights.store",
}


def __getattr__(name: str) -> object:
    if name in _HOME:
        return getattr(import_module(_HOME[name]), name)
    raise AttributeError(f"module 'unbraid' has no attribute '{name}'")


def __dir__() -> list[str]:
    return sorted(__all__)

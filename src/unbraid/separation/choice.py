"""Which model a recording is best given to, among those that are on this machine; nothing is ever downloaded here."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from unbraid.errors import UnknownNameError
from unbraid.separation.detector import Kind
from unbraid.weights.published.locate import find_downloaded
from unbraid.weights.published.registry import published_models
from unbraid.weights.store import bundled_models, inspect_model

KIND_NAMES: Mapping[Kind, str] = {"talk": "talk", "music": "music", "film": "film sound"}
_BUNDLED: Mapping[Kind, str] = {"talk": "speech", "music": "music", "film": "cinematic"}
_PREFERRED: Mapping[Kind, tuple[str, ...]] = {
    "talk": (),
    "music": ("sfc-music-medium", "scnet-xl", "htdemucs_ft", "bs-roformer", "sfc-music-small", "htdemucs"),
    "film": ("sfc-film-medium", "sfc-film-small"),
}
"""Published models, best first, that go before the bundled one where they have been downloaded. For talk none does:
those that are published for speech work at 8 kHz, or know nothing of turns."""
_SUGGESTED: Mapping[Kind, str] = {"talk": "sepformer-libri2mix", "music": "htdemucs", "film": "sfc-film-medium"}
_STEMS: Mapping[str, Kind] = {
    "dialogue": "film",
    "effects": "film",
    "vocals": "music",
    "drums": "music",
    "bass": "music",
    "guitar": "music",
    "piano": "music",
}


@dataclass(frozen=True, kw_only=True)
class Choice:
    """A model for a kind of recording."""

    kind: Kind
    name: str | None
    """None where no model for that kind is on this machine."""
    suggestion: str
    """A published model for that kind, to be downloaded by name."""
    experimental: str | None = None
    """A bundled model for that kind which nobody is given unasked."""

    def missing(self, subject: str, *, heard: bool = True) -> UnknownNameError:
        """What to say of a recording where there is none; not heard, the kind was told by the stems asked for."""
        found = f"sounds like {KIND_NAMES[self.kind]}" if heard else f"is asked for stems of {KIND_NAMES[self.kind]}"
        download = f"download one with  unbraid models download {self.suggestion}"
        if self.experimental is not None:
            return UnknownNameError(
                f"{found}, and the only model for that on this machine, "
                f"'{self.experimental}', is an experiment that is not taken unasked",
                subject=subject,
                remedy=f"{download}, or take it with `model={self.experimental}`",
            )
        return UnknownNameError(
            f"{found}, and no model for that is on this machine",
            subject=subject,
            remedy=f"{download}, or choose a model with `model`",
        )


def choose_model(kind: Kind) -> Choice:
    """The best model for a kind that is bundled or has been downloaded; one that is marked as experimental never is."""
    downloaded = (name for name in _PREFERRED[kind] if find_downloaded(name) is not None)
    name = next(downloaded, None) or (_BUNDLED[kind] if _is_ready(_BUNDLED[kind]) else None)
    assert _SUGGESTED[kind] in published_models()
    bundled = _BUNDLED[kind] if _BUNDLED[kind] in bundled_models() else None
    return Choice(kind=kind, name=name, suggestion=_SUGGESTED[kind], experimental=bundled if name is None else None)


def kind_of_stems(stems: Iterable[str]) -> Kind | None:
    """What a recording must be for stems of these names to be asked for."""
    kinds: set[Kind] = set()
    for stem in stems:
        if stem.startswith("speaker"):
            kinds.add("talk")
        elif stem in _STEMS:
            kinds.add(_STEMS[stem])
    return kinds.pop() if len(kinds) == 1 else None


def _is_ready(name: str) -> bool:
    return name in bundled_models() and not inspect_model(name).facts.get("experimental")

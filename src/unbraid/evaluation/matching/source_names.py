"""What sources are called by whom: the same one goes by several names, and some are all the rest of others."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

from unbraid.files.names import well_formed

OTHER_NAMES = (
    ("vocals", "vocal", "voice", "singing"),
    ("drums", "drum", "percussion"),
    ("other", "others"),
    ("dialogue", "dialog", "speech", "dx", "voice"),
    ("effects", "sfx", "fx", "effect", "background"),
    ("music", "mx"),
    ("accompaniment", "instrumental", "no_vocals", "minus_vocals"),
)
"""Names that tools give to the same source. The first that is among the references counts."""
_REST = {"accompaniment": "vocals", "instrumental": "vocals"}
"""Names under which tools write everything but one source; so do no_<source> and minus_<source>."""


def source_names(sources: Sequence[str]) -> dict[str, str]:
    """Folded names of sources, and of what is left when one is taken away, to the names of the references."""
    names = {fold(source): source for source in sources}
    for group in OTHER_NAMES:
        known = next((name for name in group if name in sources), None)
        if known is None and group[0] == "accompaniment" and "vocals" in sources:
            known = group[0]
        for name in group if known else ():
            names.setdefault(fold(name), str(known))
    for source in sources:
        for name in (f"no_{source}", f"minus_{source}"):
            names.setdefault(fold(name), f"no_{source}")
    return names


def name_rest(estimates: Sequence[str], sources: Sequence[str]) -> dict[str, str]:
    """Estimates that mean something else than their name says, by what they mean.

    Of two estimates of which one is called other, that one is all but the first, however many sources there are.
    """
    if len(estimates) == 2 and "other" in estimates and len(sources) > 2:
        first = next(name for name in estimates if name != "other")
        return {"other": f"no_{first}"}
    return {}


def rest_of(source: str) -> str | None:
    """The source that is left out of `source`: vocals for no_vocals or accompaniment; None for an ordinary source."""
    for prefix in ("no_", "minus_"):
        if source.startswith(prefix):
            return source.removeprefix(prefix)
    return _REST.get(source)


def fold(text: str) -> str:
    """Lower case, composed accents, and one space for anything that only separates."""
    words = re.split(r"[\s_\-.()\[\]/]+", unicodedata.normalize("NFC", well_formed(text)).casefold())
    return " ".join(word for word in words if word)

"""Script and style of the player, as the files of a server and as text inside a page that stands by itself."""

from __future__ import annotations

import base64
import hashlib
import re
from pathlib import Path

STATIC = Path(__file__).with_name("static")
_MODULES = ("dom.js", "pictures.js", "transport.js", "player.js", "embedded.js", "report.js")
"""Each after those that it imports."""


def style() -> str:
    return (STATIC / "player.css").read_text(encoding="utf-8")


def report_script() -> str:
    """All modules as one: pages that are opened from a disk may not import any."""
    text = "\n".join((STATIC / name).read_text(encoding="utf-8") for name in _MODULES)
    return re.sub(r"^export ", "", re.sub(r"^import .*\n", "", text, flags=re.M), flags=re.M)


def script_hash(script: str) -> str:
    """What a content security policy names to let this script run, and no other."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'"

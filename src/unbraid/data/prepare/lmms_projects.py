"""Song projects of LMMS (.mmpz, .mmp): which instruments they have, and which stem each belongs to."""

from __future__ import annotations

import re
import zlib
from pathlib import Path
from typing import Literal
from xml.etree import ElementTree

from unbraid.errors import DataError
from unbraid.files.names import printable

Stem = Literal["drums", "bass", "other"]

PROJECT_SUFFIXES = (".mmpz", ".mmp")

_MOST_BYTES = 2**26
"""ours: of a project's text; the largest that come with LMMS have a megabyte."""

_DRUM_NAMES = re.compile(
    r"kick|kik\b|\bbd\b|bass ?drum|snare|\bsnr|snr\b|\bhat|hats?\d*\b|hihat|hi-hat|\bhh\b|clap|cymbal|crash|\bride|"
    r"\btoms?\b|tom_|shaker|tamb|rim|side ?stick|cowbell|conga|bongo|timbale|drum|perc|wood|stick",
    re.IGNORECASE,
)
_BASS_NAMES = re.compile(r"bass|\bsubs?\b|303", re.IGNORECASE)

_DRUM_SOUNDS = re.compile(r"(^|[:/\\])(drums|drumsynth)[/\\](?!instrument|effects|misc_fx)", re.IGNORECASE)
"""Folders of the sounds that come with LMMS."""

_UNNAMED = re.compile(r"^(default|standard)([ -]preset)?$|^tripleoscillator$|^zynaddsubfx$", re.IGNORECASE)
"""What LMMS calls an instrument that nobody has named."""


class LmmsProject:
    """What a project says of its instruments."""

    def __init__(self, path: Path) -> None:
        self.text = _read(path)
        """As every version of LMMS takes it: 1.2 does not find the sounds that 1.3 has named by their place."""
        root = _parse(self.text, path)
        self.sounds: dict[str, str] = {}
        """Plain name of an instrument -> file that it plays, if it plays one."""
        for track in root.iter("track"):
            players = (player.get("src") or "" for player in track.iter("audiofileprocessor"))
            self.sounds.setdefault(plain_name(track.get("name") or ""), next(players, ""))

    def stem_of(self, name: str) -> Stem | None:
        """Of the instrument of that name; None where the name does not tell."""
        if _UNNAMED.match(name):
            return None
        if _DRUM_SOUNDS.search(self.sounds.get(plain_name(name), "")):
            return "drums"
        if _DRUM_NAMES.search(name):
            return "drums"
        return "bass" if _BASS_NAMES.search(name) else "other"


def plain_name(name: str) -> str:
    """Without what LMMS changes in the names of the files it writes."""
    return re.sub(r"[^a-z0-9]", "", name.lower())


def _read(path: Path) -> bytes:
    try:
        content = path.read_bytes()
        if path.suffix.lower() == ".mmpz":
            # Four bytes say how long the text is, and are not to be trusted.
            unpacker = zlib.decompressobj()
            content = unpacker.decompress(content[4:], _MOST_BYTES)
        if len(content) >= _MOST_BYTES:
            raise ValueError("too long")
    except (zlib.error, ValueError) as error:
        raise _refusal(path) from error
    return content.replace(b'src="factorysample:', b'src="')


def _parse(text: bytes, path: Path) -> ElementTree.Element:
    try:
        # An entity may stand for a million others; LMMS has none. In one encoding none can hide.
        if b"<!ENTITY" in text or b"\0" in text:
            raise ValueError("entities")
        return ElementTree.fromstring(text, ElementTree.XMLParser(encoding="utf-8"))
    except (ElementTree.ParseError, ValueError) as error:
        raise _refusal(path) from error


def _refusal(path: Path) -> DataError:
    return DataError(
        "is not a project of LMMS, or is damaged", subject=f"'{printable(path)}'", remedy="get another copy"
    )

"""Users read the field's plain English: phrases that once stood here and stop a reader do not come back."""

import re
from pathlib import Path

import unbraid

ROOT = Path(__file__).parents[2]
PHRASES = (
    r"takes? sound apart",
    r"takes? apart",
    r"out of noise",
    r"leaving out what is done",
    r"are built whole",
    r"goes on bit for bit",
    r"belongs to nobody",
    r"the way of the data",
    r"nobody, but leftovers",
    r"comes? apart",
    r"estimates on the way",
)
FORBIDDEN = re.compile("|".join(rf"\b{phrase}\b" for phrase in PHRASES), re.IGNORECASE)
PAGES = [ROOT / "README.md", *(ROOT / "docs").rglob("*.md"), *(ROOT / "examples").rglob("*.md")]
SOURCES = list(Path(unbraid.__file__).parent.rglob("*.py")) + list(Path(unbraid.__file__).parent.rglob("*.md"))


def found_in(text: str) -> list[str]:
    return [found[0] for found in FORBIDDEN.finditer(" ".join(text.split()))]


def test_the_phrases_are_found_over_line_ends():
    assert found_in("unbraid takes\n    sound apart, also out of\nnoise") == ["takes sound apart", "out of noise"]


def test_it_is_said_plainly():
    said = {str(path): found_in(path.read_text(encoding="utf-8")) for path in (*PAGES, *SOURCES)}
    assert {path: phrases for path, phrases in said.items() if phrases} == {}

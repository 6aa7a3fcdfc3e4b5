"""Writes docs/licences.md: what licence every package of constraints.txt states in its metadata.

    python -m benchmarks.pages.licences

Packages that are not installed here keep the line that they have.
"""

from __future__ import annotations

import re
from importlib.metadata import PackageMetadata, PackageNotFoundError, metadata
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs/licences.md"
_HEAD = """# Licences of dependencies

unbraid itself is under the MIT licence. Below is what every package that it, its extras or its development may install
states in its metadata, written by `python -m benchmarks.pages.licences`; the licences of models are under
[published models](models/published.md) and in `unbraid models list`.

| package | licence |
|---|---|
"""
_LINE = re.compile(r"\| (\S+) \| (.+) \|")
_LONGEST = 60
"""Some packages put the whole text of their licence there."""


def names() -> list[str]:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    return sorted((line.partition("==")[0] for line in lines if "==" in line), key=str.lower)


def licence_of(facts: PackageMetadata) -> str:
    """The licence as its newest field says it, or the oldest."""
    if expression := facts.get("License-Expression"):
        return expression
    classes = facts.get_all("Classifier") or []
    classifiers = [text.split(" :: ")[-1] for text in classes if text.startswith("License ::")]
    stated = (facts.get("License") or "").strip()
    if stated and stated != "UNKNOWN" and "\n" not in stated and len(stated) <= _LONGEST:
        return stated
    return ", ".join(classifiers) or "not stated"


def run() -> None:
    known = dict(_LINE.findall(PAGE.read_text(encoding="utf-8"))) if PAGE.exists() else {}
    for name in names():
        try:
            known[name] = licence_of(metadata(name)).replace("|", "/")
        except PackageNotFoundError:
            known.setdefault(name, "not installed where this page was written")
    PAGE.write_text(_HEAD + "".join(f"| {name} | {known[name]} |\n" for name in names()), encoding="utf-8")


if __name__ == "__main__":
    run()

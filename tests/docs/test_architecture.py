"""The architecture page names every room, and draws the layers that are checked."""

import re
import tomllib
from pathlib import Path

import unbraid

ROOT = Path(__file__).parents[2]
SOURCE = Path(unbraid.__file__).parent
PAGE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")


def test_every_room_is_named():
    rooms = [
        path.parent.relative_to(SOURCE).as_posix() for path in SOURCE.rglob("__init__.py") if path.parent != SOURCE
    ]
    assert [room for room in sorted(rooms) if f"`{room}/`" not in PAGE] == []
    modules = [path.name for path in SOURCE.glob("*.py") if not path.name.startswith("_")]
    assert [module for module in modules if f"`{module}`" not in PAGE] == []


def test_every_room_that_is_named_is_there():
    folders = re.findall(r"`([a-z_0-9/]+/)`", PAGE)
    there = [any((base / folder).is_dir() for base in (SOURCE, ROOT)) for folder in folders]
    assert [folder for folder, is_there in zip(folders, there, strict=True) if not is_there] == []


def test_the_layers_are_those_that_are_checked():
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    layers = settings["tool"]["importlinter"]["contracts"][0]["layers"]
    assert "\n".join(f"    {layer}" for layer in layers) in PAGE

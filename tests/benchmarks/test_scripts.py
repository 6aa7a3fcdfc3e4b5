"""Every script can be started: what it takes from the package is there."""

import importlib
from pathlib import Path

import pytest

import benchmarks

ROOT = Path(benchmarks.__file__).parent
SCRIPTS = sorted(path for path in ROOT.glob("*/**/*.py") if path.stem != "__init__")


def name_of(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts)


@pytest.mark.parametrize("path", SCRIPTS, ids=name_of)
def test_it_is_imported(path):
    try:
        importlib.import_module(f"benchmarks.{name_of(path)}")
    except ModuleNotFoundError as error:
        if (error.name or "").split(".")[0] in ("benchmarks", "unbraid"):
            raise
        pytest.skip(f"needs {error.name}")


def test_no_folder_is_crowded():
    """Fourteen modules side by side can be looked over."""
    for folder in {path.parent for path in SCRIPTS}:
        assert len([path for path in SCRIPTS if path.parent == folder]) <= 14, folder.name

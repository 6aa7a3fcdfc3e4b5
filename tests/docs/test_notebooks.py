"""Every notebook of examples/ runs from top to bottom, and is kept without its outputs."""

import contextlib
import json
import shutil
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]
NOTEBOOKS = sorted((ROOT / "examples").glob("*.ipynb"))


def cells(path):
    return [cell for cell in json.loads(path.read_text())["cells"] if cell["cell_type"] == "code"]


@pytest.fixture
def shown(monkeypatch):
    """What a notebook shows; IPython itself is not needed to run its cells."""
    found = []
    module = ModuleType("IPython.display")
    module.display = found.append
    module.Audio = lambda data, rate, normalize: ("audio", data.shape, rate)
    module.Image = lambda data: ("image", data)
    package = ModuleType("IPython")
    # matplotlib looks.
    package.version_info = (9, 0)
    monkeypatch.setitem(sys.modules, "IPython", package)
    monkeypatch.setitem(sys.modules, "IPython.display", module)
    return found


def test_there_are_three():
    assert [path.stem for path in NOTEBOOKS] == ["compare_two_models", "separate_and_listen", "train_a_tiny_model"]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_it_runs(path, tmp_path, shown):
    for folder in ("two-speakers-1", "two-speakers-2"):
        shutil.copytree(ROOT / "examples" / folder, tmp_path / "examples" / folder)
    names = {"__name__": "__main__"}
    with contextlib.chdir(tmp_path):
        for number, cell in enumerate(cells(path), start=1):
            exec(compile("".join(cell["source"]), f"{path.name}, cell {number}", "exec"), names)
    if path.stem == "separate_and_listen":
        assert (tmp_path / "stems.png").stat().st_size > 0
        assert [kind for kind, *_ in shown] == ["audio"] * 2
    if path.stem == "compare_two_models":
        assert names["result"].overall.count == 2


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_it_is_kept_without_outputs(path):
    assert [cell for cell in cells(path) if cell["outputs"] or cell["execution_count"]] == []

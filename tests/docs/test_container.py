"""The container file names files, extras, options and folders that there are."""

import ast
import re
import tomllib
from pathlib import Path
from types import SimpleNamespace

import pytest

ROOT = Path(__file__).parents[2]
FILE = (ROOT / "Dockerfile").read_text(encoding="utf-8")
LINES = re.sub(r"\\\n\s*", "", FILE).splitlines()
EXTRAS = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]


def lines(word):
    return [line.removeprefix(f"{word} ") for line in LINES if line.startswith(f"{word} ")]


def test_what_is_copied_is_there_and_not_ignored():
    ignored = (ROOT / ".dockerignore").read_text(encoding="utf-8").split()
    copied = [name for line in lines("COPY") for name in line.split()[:-1]]
    assert {"src", "constraints.txt", "pyproject.toml"} <= set(copied)
    assert [name for name in copied if not (ROOT / name).exists() or name in ignored] == []
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    needed = {settings["project"]["readme"], *settings["project"]["license-files"]}
    assert needed | set(settings["tool"]["hatch"]["build"]["targets"]["wheel"]["force-include"]) <= set(copied)


def test_both_targets_install_torch_first_and_extras_that_there_are():
    targets = [line.rpartition(" AS ")[2] for line in lines("FROM")]
    assert targets == ["base", "cpu", "cuda"]
    installs = [line.partition("pip install ")[2] for line in lines("RUN") if "pip install" in line]
    assert [install.endswith(" torch") for install in installs] == [True, False, True, False]
    assert all(install.startswith("--constraint constraints.txt ") for install in installs)
    named = {
        extra for install in installs for found in re.findall(r"\.\[(.*?)\]", install) for extra in found.split(",")
    }
    assert named == {"serve", "zoo"}
    assert named <= set(EXTRAS)


def test_it_runs_without_rights_and_keeps_everything_in_the_volume():
    assert lines("USER") == ["unbraid", "unbraid"]
    assert any("useradd" in line and "install -d -o unbraid /data" in line for line in lines("RUN"))
    (volume,) = lines("VOLUME")
    caches = dict(found.split("=") for found in lines("ENV")[0].split())
    assert all(caches[name].startswith(volume) for name in ("UNBRAID_CACHE", "HF_HUB_CACHE"))


def test_its_command_is_taken_by_the_server():
    pytest.importorskip("fastapi", reason="needs the extra serve")
    from unbraid.web.config import ServeConfig
    from unbraid.web.security import OPEN_PATHS

    (command,) = map(ast.literal_eval, lines("ENTRYPOINT"))
    options = dict(zip(command[2::2], command[3::2], strict=True))
    assert command[:2] == ["unbraid", "serve"]
    settings = SimpleNamespace(**{name.removeprefix("--"): value for name, value in options.items()})
    found = ServeConfig(host=settings.host, folder=Path(settings.folder), token="x" * 16)
    assert settings.folder.startswith(lines("VOLUME")[0])
    (port,) = map(int, lines("EXPOSE"))
    assert found.port == port
    (check,) = (ast.literal_eval(line.partition("CMD ")[2]) for line in lines("HEALTHCHECK"))
    assert f":{port}/health" in check[-1]
    assert "/health" in OPEN_PATHS

"""What the code may not do anywhere: unpickle, evaluate text, run a shell, ask the network unasked, need one system."""

from __future__ import annotations

import ast
import socket
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

import unbraid
from tests.cli.conftest import *  # noqa: F403  the command line in this process

ROOT = Path(unbraid.__file__).parent

_UNPICKLING = {"pickle", "cPickle", "_pickle", "dill", "cloudpickle", "joblib", "marshal", "shelve"}
_NAMES_ALLOWED = {"UnpicklingError"}
"""The name of an error unpickles nothing."""
_ONE_SYSTEM = {"fcntl", "resource", "pwd", "grp", "termios", "tty", "pty", "syslog", "winreg", "msvcrt", "winsound"}
_ONE_SYSTEMS_CALLS = {
    *("os.fork", "os.getuid", "os.geteuid", "os.nice", "os.kill", "os.killpg", "os.mkfifo", "os.chown", "os.setsid"),
    *("os.sched_getaffinity", "os.statvfs", "os.sysconf", "os.uname", "os.getloadavg", "os.O_NOFOLLOW", "os.rename"),
    *("signal.SIGKILL", "signal.SIGHUP", "signal.SIGALRM", "signal.SIGUSR1", "signal.SIGPIPE", "signal.SIGCHLD"),
}
_GUARDED = {
    "web/engine.py": {"os.nice"},  # an AttributeError is suppressed
    "inspection/profile.py": {"resource"},  # not on Windows
    "files/leftovers.py": {"os.kill"},  # not on Windows, where it would end the process
    "output/engines/processes.py": {"os.sched_getaffinity"},  # on Linux only
}


@cache
def modules() -> list[tuple[str, ast.Module]]:
    paths = sorted(ROOT.rglob("*.py"))
    return [(path.relative_to(ROOT).as_posix(), ast.parse(path.read_text(encoding="utf-8"))) for path in paths]


def imported(tree: ast.Module) -> Iterator[tuple[str, str]]:
    """Package and name, the latter empty where the whole package is imported."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name.split(".")[0], "") for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            yield from (((node.module or "").split(".")[0], alias.name) for alias in node.names)


def calls(tree: ast.Module) -> Iterator[tuple[str, ast.Call]]:
    """With the function as it is written."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func), node


def uses(tree: ast.Module, names: set[str]) -> set[str]:
    return {text for node in ast.walk(tree) if isinstance(node, ast.Attribute) and (text := ast.unparse(node)) in names}


def test_nothing_is_unpickled_evaluated_or_run_by_a_shell():
    found = []
    for name, tree in modules():
        for package, member in imported(tree):
            only_named = member in _NAMES_ALLOWED or (
                not member and uses(tree, {f"{package}.{one}" for one in ("load", "loads", "Unpickler")}) == set()
            )
            if package in _UNPICKLING and not only_named:
                found.append(f"{name}: imports {package}")
        for function, call in calls(tree):
            keywords = {keyword.arg: ast.unparse(keyword.value) for keyword in call.keywords}
            if function.startswith("torch.load") and keywords.get("weights_only") != "True":
                found.append(f"{name}: torch.load without weights_only=True")
            if function == "torch.load" and name != "weights/tensors.py":
                found.append(f"{name}: torch.load beside the one that looks for packed entries")
            if function in ("np.load", "numpy.load") and keywords.get("allow_pickle", "False") != "False":
                found.append(f"{name}: numpy.load with pickles")
            if function in ("yaml.unsafe_load", "yaml.full_load") or (
                function == "yaml.load" and (name, keywords.get("Loader")) != ("weights/settings.py", "Loader")
            ):
                found.append(f"{name}: {function} without a safe loader")
            if function in ("eval", "exec", "compile", "__import__", "os.system", "os.popen"):
                found.append(f"{name}: {function}")
            if keywords.get("shell", "False") != "False":
                found.append(f"{name}: a shell")
    assert found == []


_UNPACKING = {"zipfile", "tarfile", "gzip", "bz2", "lzma"}
_UNPACKING_ALLOWED = {
    ("web/archive.py", "zipfile"),  # it writes them
    ("weights/tensors.py", "zipfile"),  # it looks whether entries are compressed
    ("weights/tensors.py", "tarfile"),  # it looks whether a file is one
}
_BOUNDED = {"data/prepare/lmms_projects.py"}
"""Modules that decompress, each with a limit."""


def test_no_archive_is_unpacked_and_nothing_decompressed_without_a_limit():
    found = []
    for name, tree in modules():
        for package, _ in imported(tree):
            if package in _UNPACKING and (name, package) not in _UNPACKING_ALLOWED:
                found.append(f"{name}: imports {package}")
        for function, call in calls(tree):
            last = function.rpartition(".")[2]
            if last in ("extract", "extractall", "unpack_archive") or function == "zlib.decompress":
                found.append(f"{name}: {function}")
            if last == "decompress" and (name not in _BOUNDED or len(call.args) < 2):
                found.append(f"{name}: {function} without a limit")
    assert found == []


def test_the_one_loader_of_yaml_is_a_safe_one():
    tree = ast.parse((ROOT / "weights/settings.py").read_text(encoding="utf-8"))
    loaders = [node for node in ast.walk(tree) if isinstance(node, ast.ClassDef) and node.name == "Loader"]
    assert [[ast.unparse(base) for base in loader.bases] for loader in loaders] == [["yaml.SafeLoader"]]


def test_no_module_needs_what_only_one_system_has():
    found = []
    for name, tree in modules():
        needed = uses(tree, _ONE_SYSTEMS_CALLS) | (_ONE_SYSTEM & {package for package, _ in imported(tree)})
        found += [f"{name}: {need}" for need in needed - _GUARDED.get(name, set())]
    assert found == []


def test_commands_that_need_no_network_ask_for_none(run, separate, talk, monkeypatch):
    def refuse(*arguments: object, **settings: object):
        raise AssertionError("the network was asked for")

    for name in ("connect", "connect_ex", "sendto"):
        monkeypatch.setattr(socket.socket, name, refuse)
    for name in ("getaddrinfo", "gethostbyname", "create_connection"):
        monkeypatch.setattr(socket, name, refuse)
    with pytest.raises(AssertionError, match="was asked for"):
        socket.create_connection(("localhost", 1))
    talk()
    assert separate("talk.wav").code == 0
    assert run("models", "list").code == 0
    assert run("models", "list", "--json").code == 0
    assert run("models", "show", "speech").code == 0
    assert run("doctor").code == 0

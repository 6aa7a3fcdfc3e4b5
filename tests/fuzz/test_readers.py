"""A taste of `make fuzz` in the default run, and that no reader ever talks to the network or runs a pickle."""

from __future__ import annotations

import os
import random
import socket
from contextlib import suppress
from pathlib import Path

import pytest
import torch

from tests.fuzz.readers import build_targets
from tests.fuzz.target import ALLOWED, Target, damaged
from unbraid.weights.tensors import read_tensors

_FILES = 6


@pytest.fixture(scope="module")
def targets(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Target]:
    return dict(build_targets(tmp_path_factory.mktemp("fuzz")))


@pytest.fixture
def _no_network(monkeypatch: pytest.MonkeyPatch):
    def refuse(*arguments: object, **settings: object):
        raise AssertionError("the network was asked for")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


@pytest.mark.usefixtures("_no_network")
def test_whole_files_are_read_and_damaged_ones_are_read_or_refused(targets: dict[str, Target]):
    random_ = random.Random(1)
    for target in targets.values():
        for seed in target.seeds:
            target.read(seed)
        for number in range(_FILES):
            with suppress(*ALLOWED):
                target.read(damaged(target.seeds[number % len(target.seeds)], random_))


class Bomb:
    def __init__(self, mark: Path):
        self.mark = mark

    def __reduce__(self):
        return os.system, (f"touch {self.mark}",)


def test_no_reader_runs_a_pickle(targets: dict[str, Target], tmp_path: Path):
    mark, bomb = tmp_path / "bomb-went-off", tmp_path / "bomb.pt"
    torch.save({"a": torch.zeros(1), "b": Bomb(mark)}, bomb)
    content = bomb.read_bytes()
    for target in targets.values():
        with suppress(*ALLOWED):
            target.read(content)
    with suppress(*ALLOWED):
        read_tensors(bomb)
    assert not mark.exists()

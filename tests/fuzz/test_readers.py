"""A taste of `make fuzz` in the default run, and that no reader ever talks to the network or runs a pickle."""

from __future__ import annotations

import os
import random
import socket
from contextlib import suppress
from pathlib import Path

import pytest
import torch

from tests.fuzz.readers import ALLOWED, build_readers, damaged
from unbraid.weights.tensors import read_tensors

_FILES = 12


@pytest.fixture
def _no_network(monkeypatch: pytest.MonkeyPatch):
    def refuse(*arguments: object, **settings: object):
        raise AssertionError("the network was asked for")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


@pytest.mark.usefixtures("_no_network")
def test_whole_files_are_read_and_damaged_ones_are_read_or_refused(tmp_path: Path):
    random_ = random.Random(1)
    for seed, read in build_readers(tmp_path).values():
        read(seed)
        for _ in range(_FILES):
            with suppress(*ALLOWED):
                read(damaged(seed, random_))


class Bomb:
    def __init__(self, mark: Path):
        self.mark = mark

    def __reduce__(self):
        return os.system, (f"touch {self.mark}",)


def test_no_reader_runs_a_pickle(tmp_path: Path):
    mark, bomb = tmp_path / "bomb-went-off", tmp_path / "bomb.pt"
    torch.save({"a": torch.zeros(1), "b": Bomb(mark)}, bomb)
    content = bomb.read_bytes()
    for _, read in build_readers(tmp_path).values():
        with suppress(*ALLOWED):
            read(content)
    with suppress(*ALLOWED):
        read_tensors(bomb)
    assert not mark.exists()

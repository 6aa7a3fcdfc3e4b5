"""The scan in Triton; without a GPU its interpreter runs it."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from tests.conftest import PATIENCE_SECONDS
from unbraid.layers.kernels import selective_scan as module
from unbraid.layers.kernels.selective_scan import triton_scan

HAS_TRITON = importlib.util.find_spec("triton") is not None


@pytest.mark.skipif(not HAS_TRITON, reason="Triton is not here: pip install --no-deps triton==3.6.0")
def test_outputs_and_gradients_are_those_of_the_loop():
    environment = os.environ | {"TRITON_INTERPRET": "1", "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    done = subprocess.run(
        [sys.executable, str(Path(__file__).with_name("triton_parity.py"))],
        capture_output=True,
        text=True,
        env=environment,
        timeout=PATIENCE_SECONDS,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "the same\n"


def test_without_triton_there_is_no_such_form(monkeypatch):
    monkeypatch.setitem(sys.modules, "triton", None)
    monkeypatch.delitem(sys.modules, "unbraid.layers.kernels.triton_scan", raising=False)
    triton_scan.cache_clear()
    assert triton_scan() is None
    triton_scan.cache_clear()


def test_a_processor_never_asks_for_it(monkeypatch):
    def refuse():
        raise AssertionError

    monkeypatch.setattr(module, "triton_scan", refuse)
    ones = torch.ones(1, 3, 2)
    module.selective_scan(ones, ones, -torch.ones(2, 1), ones[..., :1], ones[..., :1], torch.ones(2))

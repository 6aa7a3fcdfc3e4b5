"""What a step on a GPU must not do: wait for the device, or compile one block many times.

No GPU is needed: on the meta device there are no numbers to wait for, so that whoever asks for one ends in an error.
"""

import os
import subprocess
import sys
from contextlib import nullcontext
from dataclasses import replace

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from tests.conftest import TINY
from tests.training.tiny import CONFIG
from unbraid.data.items import Example
from unbraid.losses.multi_rate import MultiLossConfig
from unbraid.losses.weighted import DISTANCES, LossConfig, LossTerm, WeightedLoss
from unbraid.models.catalog import build_model
from unbraid.training.optimisation.objective import Objective


class Copies(TorchDispatchMode):
    """Counts what is copied from the host to the device, for which a GPU waits as well."""

    def __init__(self):
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        from_host = any(isinstance(one, torch.Tensor) and one.device.type == "cpu" and one.ndim for one in args)
        self.count += from_host and isinstance(out, torch.Tensor) and out.device.type == "meta"
        return out


def batch_of(spec, num_samples=4000):
    mixture = torch.empty(2, spec.num_channels, num_samples, device="meta")
    references = torch.empty(2, spec.num_sources, spec.num_channels, num_samples, device="meta")
    return Example(mixture, references, torch.ones(2, spec.num_sources, dtype=torch.bool, device="meta"))


@pytest.mark.parametrize("exchangeable", [True, False])
def test_losses_ask_the_device_nothing(exchangeable):
    terms = tuple(LossTerm(name=name) for name in DISTANCES)
    loss = WeightedLoss(LossConfig(terms=terms, floor_db=-30.0), exchangeable=exchangeable)
    estimate, reference = torch.empty(2, 3, 2, 1, 4000, device="meta")
    present = torch.ones(3, 2, dtype=torch.bool, device="meta")
    estimate.requires_grad_()
    loss(estimate, reference, reference.sum(1), present)  # what is copied once, is by now
    with Copies() as copies:
        loss(estimate, reference, reference.sum(1), present).total.backward()
    assert copies.count == 0


@pytest.mark.parametrize("preset", ["s4m-tiny", "sfc-ca-small", "sepformer", "fb-tiny"])
def test_steps_ask_the_device_nothing(preset, monkeypatch):
    # The meta device knows no autocast.
    monkeypatch.setattr(torch, "autocast", lambda *_, **__: nullcontext())
    with torch.device("meta"):
        model = build_model(preset, **TINY[preset]).train()
    config = replace(CONFIG, multi_loss=MultiLossConfig() if preset == "sepformer" else None)
    objective, batch = Objective(config, model), batch_of(model.spec)
    objective(model, batch)
    with Copies() as copies:
        objective(model, batch).total.backward()
    assert copies.count == 0


def test_the_compiler_sees_one_block_and_not_its_rounds():
    model = build_model("s4m-tiny", **TINY["s4m-tiny"])
    assert model.compiled_parts() == (model.rounds.block,)
    whole = build_model("sepformer", **TINY["sepformer"])
    assert whole.compiled_parts() == (whole,)
    refined = build_model("s4m-tiny-post-filter", **TINY["s4m-tiny-post-filter"])
    assert refined.compiled_parts() == (refined.separator.rounds.block, refined.super_resolution)


@pytest.mark.slow
def test_a_compiled_block_is_one_graph_for_all_rounds():
    """In a process of its own, because shapes that are checked cannot be compiled."""
    script = (
        "import torch; from torch._dynamo.testing import CompileCounter; from tests.conftest import TINY\n"
        "from unbraid.models.catalog import build_model\n"
        "model = build_model('s4m-tiny', **TINY['s4m-tiny'] | {'num_rounds': 4}).train()\n"
        "mixture, counter = torch.randn(2, 1, 4000), CompileCounter()\n"
        "plain = model(mixture)\n"
        "for part in model.compiled_parts(): part.compile(backend=counter, fullgraph=True)\n"
        "compiled = model(mixture); compiled.square().mean().backward()\n"
        "assert torch.equal(plain, compiled); assert counter.frame_count == 1, counter.frame_count\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(["src", "."])},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr

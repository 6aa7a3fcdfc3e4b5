from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from tests.conftest import TINY
from unbraid.inspection.profile import count_macs, measure_peak, noise, profile
from unbraid.models.catalog import build_model
from unbraid.models.contract import ModelSpec, SeparationModel


class _Layers(SeparationModel):
    """One of each kind of operation that is counted."""

    def __init__(self) -> None:
        super().__init__()
        self.spec = ModelSpec(sample_rate=1_000, num_channels=1, sources=("a",), exchangeable=False, chunk_seconds=1.0)
        self.conv = nn.Conv1d(1, 8, 4, 4, bias=False)
        self.grouped = nn.Conv1d(8, 8, 3, padding=1, groups=4)
        self.parts = nn.ModuleList([nn.Linear(8, 16), nn.Linear(16, 8)])
        self.back = nn.ConvTranspose1d(8, 1, 4, 4)

    def forward(self, mixture):
        hidden = self.grouped(self.conv(mixture)).transpose(1, 2)
        for part in self.parts:
            hidden = part(hidden)
        hidden = F.scaled_dot_product_attention(hidden, hidden, hidden)
        hidden = torch.einsum("btd,bsd->bts", hidden, hidden) @ hidden
        return self.back(hidden.transpose(1, 2)).unsqueeze(1)


def test_every_kind_of_product_is_counted_once():
    model = _Layers().eval()
    macs = count_macs(model, noise(model, 0.4))
    frames = 100
    assert macs["conv"] == frames * 8 * 4
    assert macs["grouped"] == frames * 8 * 3 * 2
    assert macs["parts.0"] == macs["parts.1"] == frames * 8 * 16
    assert macs["parts"] == 2 * frames * 8 * 16, "a list of layers is never called itself"
    assert macs["back"] == frames * 8 * 4
    products = 4 * frames * frames * 8
    assert macs[""] == sum(macs[name] for name in ("conv", "grouped", "parts", "back")) + products


@pytest.mark.parametrize(("settings", "giga"), [({}, 7.95), ({"kernel_ms": 4.0, "depth": 4}, 5.62)])
def test_s4m_tiny_costs_what_it_should(settings, giga):
    model = build_model("s4m-tiny", **settings)
    assert count_macs(model, noise(model, 1.0))[""] / 1e9 == pytest.approx(giga, rel=0.02)


def test_an_lstm_is_counted_as_one():
    """Per frame of each chunk and path: four gates of inputs and states in both directions, and the map back."""
    model = build_model("dprnn", **TINY["dprnn"])
    macs = count_macs(model, noise(model, 0.05))
    chunks = 22 * 40  # 400 samples between one zero at either end are 401 frames
    path = chunks * (2 * 4 * 6 * (8 + 6) + 2 * 6 * 8)
    assert macs["blocks.0.within"] == macs["blocks.1.across"] == path


def test_fused_convolutions_count_like_plain_ones(monkeypatch):
    model = build_model("mtfa", **TINY["mtfa"])
    fused = count_macs(model, noise(model, 0.3))
    monkeypatch.setattr("unbraid.models.resunet.stages.can_fuse", lambda features: False)
    plain = count_macs(model, noise(model, 0.3))
    assert all(
        fused[name] == plain[name] > 0 for name in ("", "core.encoders.2", "core.decoders.5.stage.0", "core.after")
    )


def test_profile_leaves_the_threads_as_they_were():
    before = torch.get_num_threads()
    measured = profile("s4m-tiny-4ms", seconds=0.1, device="cpu", threads=1, memory=False)
    assert torch.get_num_threads() == before
    assert measured.threads == 1
    assert measured.parameters == measured.modules[0].parameters
    assert measured.modules[0].share == 1.0
    assert measured.peak_memory_bytes is None
    assert measured.cpu_seconds_per_second > 0


def test_memory_is_that_of_the_model_alone():
    """A process inherits the peak of the one that starts it, here 256 MiB, unless it is asked rightly."""
    ballast = torch.ones(2**26)
    peak = measure_peak("s4m-tiny", 0.2, 1)
    assert ballast.sum() > 0
    assert peak is not None
    assert 7e6 < peak < 2e8

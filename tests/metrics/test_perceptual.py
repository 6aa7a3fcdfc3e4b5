"""STOI and PESQ: the arguments reach the libraries the right way round, and silence raises nothing."""

import sys

import pytest
import torch

from unbraid.errors import ConfigError, MissingExtraError
from unbraid.metrics.perceptual import pesq, stoi


@pytest.fixture
def speech():
    """Something with syllables: a buzz under a slow envelope, twice, with noise for the estimate."""
    time = torch.arange(24_000, dtype=torch.float64) / 16_000
    buzz = sum(torch.sin(2 * torch.pi * pitch * time) for pitch in range(120, 3600, 120))
    reference = 0.02 * buzz * torch.sin(2 * torch.pi * 3 * time).clamp(min=0)
    return reference + 0.05 * torch.randn(24_000, dtype=torch.float64), reference


def test_stoi_equals_the_library(speech):
    library = pytest.importorskip("pystoi")
    estimate, reference = speech
    found = stoi(torch.stack([estimate, reference]), torch.stack([reference, reference]), 16_000)
    assert found[0].item() == pytest.approx(library.stoi(reference.numpy(), estimate.numpy(), 16_000), abs=1e-9)
    assert found[0].item() != pytest.approx(library.stoi(estimate.numpy(), reference.numpy(), 16_000), abs=1e-4)
    assert found[1].item() == pytest.approx(1, abs=1e-6)
    extended = stoi(estimate, reference, 16_000, extended=True).item()
    assert extended == pytest.approx(library.stoi(reference.numpy(), estimate.numpy(), 16_000, extended=True), abs=1e-3)


def test_stoi_of_silence_and_of_too_little_is_nan(speech):
    pytest.importorskip("pystoi")
    estimate, reference = speech
    silence = torch.zeros_like(reference)
    for one, other in ((estimate, silence), (silence, reference), (silence, silence)):
        assert stoi(one, other, 16_000).isnan()
    assert stoi(estimate[:2000], reference[:2000], 16_000).isnan()
    assert stoi(estimate[:3], reference[:3], 16_000).isnan()


def test_pesq_equals_the_library(speech):
    library = pytest.importorskip("pesq")
    estimate, reference = speech
    for band, mode in (("wide", "wb"), ("narrow", "nb")):
        expected = library.pesq(16_000, reference.numpy(), estimate.numpy(), mode)
        assert pesq(estimate, reference, 16_000, band).item() == pytest.approx(expected, abs=1e-6)
    silence = torch.zeros_like(reference)
    assert pesq(torch.stack([silence, estimate]), torch.stack([reference, silence]), 16_000).isnan().all()
    assert pesq(estimate[:100], reference[:100], 16_000).isnan()


def test_rates_that_pesq_does_not_know_are_refused(speech):
    with pytest.raises(ConfigError, match=r"resample to 16000 Hz$"):
        pesq(*speech, 8000)
    with pytest.raises(ConfigError, match="resample to 16000 Hz or 8000 Hz"):
        pesq(*speech, 44_100, "narrow")


@pytest.mark.parametrize(("package", "metric"), [("pystoi", stoi), ("pesq", pesq)])
def test_without_the_library_the_message_says_what_to_install(speech, monkeypatch, package, metric):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingExtraError, match=rf"{package}.*unbraid\[quality\]"):
        metric(*speech, 16_000)

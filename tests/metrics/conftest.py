"""museval as a reference, and signals that sound like several stems."""

import importlib.util
from pathlib import Path

import pytest
import torch


@pytest.fixture(scope="session")
def museval():
    """`museval.metrics`, read past the package: that asks for ffmpeg as soon as it is imported."""
    package = importlib.util.find_spec("museval")
    if package is None or package.origin is None:
        pytest.skip("museval is not installed")
    spec = importlib.util.spec_from_file_location("museval_metrics", Path(package.origin).parent / "metrics.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def make_stems():
    """Coloured noise of several sources, and estimates that are filtered, leak into each other and hold noise."""

    def make(num_sources=2, num_channels=2, num_samples=5000, seed=0):
        generator = torch.Generator().manual_seed(seed)
        noise = torch.randn(num_sources, num_channels, num_samples + 8, generator=generator, dtype=torch.float64)
        reference = noise[..., 8:] + 0.7 * noise[..., 7:-1] - 0.3 * noise[..., 3:-5]
        leak = reference.sum(0) - reference
        other = 0.1 * torch.randn(reference.shape, generator=generator, dtype=torch.float64)
        estimate = 0.8 * reference + 0.1 * reference.roll(3, -1) + 0.2 * leak + other
        return estimate, reference

    return make

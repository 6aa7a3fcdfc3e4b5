"""Shared by all tests: tiny models, golden files, quiet threads."""

import csv
import os
import shutil
from dataclasses import replace
from pathlib import Path

# Before torch is imported: on a busy machine, threads that spin while they wait make everything many times slower.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
# Tests compile nothing but where that is what they test.
os.environ.setdefault("UNBRAID_COMPILED_KERNELS", "0")

import jaxtyping
import numpy as np
import pytest
import soundfile
import torch
from safetensors import safe_open

from unbraid.layers.attention import SelfAttentionConfig
from unbraid.layers.kernels import compiled
from unbraid.layers.mamba import MambaConfig
from unbraid.layers.recurrent import RecurrentConfig
from unbraid.models.s4m.model import S4MConfig
from unbraid.models.sepformer.model import sfsrnet_separator
from unbraid.models.sfc.band_split import BandSplitConfig
from unbraid.models.sfc.cross_attention import CrossAttentionConfig
from unbraid.models.sfc.filterbank import FilterbankConfig
from unbraid.models.sfc.locoformer import LocoformerConfig
from unbraid.models.sfc.mamba import MambaCompressionConfig
from unbraid.models.super_resolution.network import SuperResolutionConfig
from unbraid.models.super_resolution.post_filter import PostFilterConfig

PATIENCE_SECONDS = 900
"""How long a test waits for another process: only one that hangs takes so long, however busy the machine."""

GOLDEN = Path(__file__).parent / "golden"

TINY: dict[str, dict[str, object]] = {
    "s4m-tiny": {"kernel_ms": 4.0, "bottleneck_dim": 8, "hidden_dim": 16, "num_rounds": 2, "depth": 3},
    "s4m-tiny-4ms": {"bottleneck_dim": 8, "hidden_dim": 16, "num_rounds": 2, "depth": 2},
    "s4m-live": {"kernel_ms": 4.0, "bottleneck_dim": 8, "hidden_dim": 16, "num_rounds": 2, "depth": 3},
    "s4m": {"kernel_ms": 4.0, "bottleneck_dim": 8, "hidden_dim": 16, "num_rounds": 2, "depth": 4},
}
TINY_ATTENTION = SelfAttentionConfig(num_heads=2, inner_dim=8, bias=True, dropout=0.0)
TINY |= {
    "sepformer": {
        "dim": 8,
        "num_layers": 1,
        "chunk_frames": 20,
        "feedforward_dim": 12,
        "sequence": TINY_ATTENTION,
    }
}
TINY["dprnn"] = {
    "dim": 8,
    "num_blocks": 2,
    "chunk_frames": 40,
    "sequence": RecurrentConfig(kind="lstm", hidden_dim=6),
}
TINY |= {
    name: {"sample_rate": 8000, "n_fft": 128, "hop": 32, "width": 1.0, "channels": (4, 4, 4, 4, 8)}
    for name in ("resunet", "mtfa", "mtfa-small")
}
TINY_LOCOFORMER = LocoformerConfig(
    dim=8,
    num_blocks=1,
    num_groups=2,
    sequence=SelfAttentionConfig(num_heads=2, inner_dim=8),
    feedforward_dims=(6, 10),
    kernel_size=4,
)
TINY_COMPRESSION = {
    "sfc-ca": CrossAttentionConfig(inner_dim=8, num_heads=2),
    "sfc-mamba": MambaCompressionConfig(inner_dim=6, mamba=MambaConfig(state_size=4)),
    "bs": BandSplitConfig(),
}
TINY |= {
    f"{kind}-{size}{use}": {
        "sample_rate": 8000,
        "n_fft": 64,
        "num_bands": 8,
        "compression": compression,
        "separator": TINY_LOCOFORMER,
    }
    for kind, compression in TINY_COMPRESSION.items()
    for size in ("small", "medium")
    for use in ("", "-cinematic")
}
TINY["fb-tiny"] = {
    "sample_rate": 8000,
    "n_fft": 64,
    "num_bands": 4,
    "compression": FilterbankConfig(narrow_bands=16, lowest_bins=1),
    "separator": TINY_LOCOFORMER,
}
TINY_SUPER_RESOLUTION = SuperResolutionConfig(window_ms=8.0, hidden_dims=(4, 6, 4), kernel_sizes=(3, 5, 3, 3))
TINY["sfsrnet"] = {
    "separator": replace(sfsrnet_separator(), **TINY["sepformer"] | {"num_blocks": 3}),  # type: ignore[arg-type]
    "super_resolution": TINY_SUPER_RESOLUTION,
}
TINY["s4m-tiny-super-resolution"] = {
    "separator": S4MConfig(**TINY["s4m-tiny"]),  # type: ignore[arg-type]
    "super_resolution": TINY_SUPER_RESOLUTION,
}
TINY["s4m-tiny-post-filter"] = {
    "separator": S4MConfig(**TINY["s4m-tiny"]),  # type: ignore[arg-type]
    "super_resolution": PostFilterConfig(window_ms=8.0, narrow_bands=12, num_bands=3, network=TINY_LOCOFORMER),
}
"""For every preset of the catalog, what makes it small enough to be tested in a second."""


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


def forget_libraries():
    """What was built or refused before, so that the environment is looked at anew."""
    compiled._load.cache_clear()


@pytest.fixture(scope="session")
def _libraries(tmp_path_factory):
    return tmp_path_factory.mktemp("kernels")


@pytest.fixture
def compiled_kernels(monkeypatch, _libraries):
    """Compiled loops, each built once for all of these tests."""
    if not any(shutil.which(name) for name in ("c++", "g++", "clang++")):
        pytest.skip("there is no C++ compiler")
    monkeypatch.setenv("UNBRAID_COMPILED_KERNELS", "1")
    monkeypatch.setenv("UNBRAID_CACHE", str(_libraries))
    forget_libraries()
    for loop in ("selective_scan", "normed_filter"):
        assert compiled.library(loop) is not None, compiled.describe(loop)
    yield
    forget_libraries()


@pytest.fixture
def symbolic_sizes():
    """While a network is traced its sizes are symbols, which are no `int` to a checker of types."""
    before = jaxtyping.config.jaxtyping_disable
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", before)


@pytest.fixture
def golden():
    """Reads one golden file: a dict of tensors."""

    def read(name: str) -> dict[str, torch.Tensor]:
        with safe_open(GOLDEN / f"{name}.safetensors", framework="pt") as file:
            return {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118

    return read


def write_corpus(root, rate=8000):
    """Six speakers a split, each a buzz of its own pitch with pauses; two utterances of two to three seconds each."""
    rng = np.random.default_rng(0)
    rows = []
    for split in ("train", "valid", "test"):
        for speaker in range(6):
            pitch = 90 + 25 * speaker
            for take in range(2):
                seconds = 2.2 + 0.3 * take
                time = np.arange(round(seconds * rate)) / rate
                wobble = np.cumsum(1 + 0.02 * np.sin(2 * np.pi * 3 * time + take)) / rate
                buzz = sum(np.sin(2 * np.pi * pitch * k * wobble) / k for k in range(1, 12))
                envelope = np.clip(np.sin(2 * np.pi * (1.1 + 0.1 * speaker) * time + take) + 0.4, 0, 1)
                sound = 0.1 * buzz * envelope + 1e-4 * rng.standard_normal(len(time))
                path = f"made/{split}/{speaker}/{take}.flac"
                (root / path).parent.mkdir(parents=True, exist_ok=True)
                soundfile.write(root / path, sound, rate)
                sex = "F" if speaker % 2 else "M"
                rows.append([path, f"{split}-{speaker}", sex, split, f"{seconds:.3f}", "none"])
    with (root / "manifest.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["path", "speaker", "sex", "split", "seconds", "licence"], *rows])


@pytest.fixture(scope="session")
def corpus_root(tmp_path_factory):
    root = tmp_path_factory.mktemp("corpus")
    write_corpus(root)
    return root

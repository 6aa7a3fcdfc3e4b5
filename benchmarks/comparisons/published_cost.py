"""What a second of audio costs with each published model: random weights at real size, one thread, one whole chunk.

python -m benchmarks.comparisons.published_cost [NAME ...]

Prints CPU seconds per second of audio of the network alone, as registry.toml holds them in `cpu_seconds`, and the
parameters. Chunks of a separation overlap by a quarter, which comes on top.
"""

import argparse
import time
from dataclasses import replace

import torch

from benchmarks import machine
from unbraid.layers.attention import SelfAttentionConfig
from unbraid.models.catalog import PRESETS, ModelConfig, build_model
from unbraid.models.packaged.demucs import DemucsConfig
from unbraid.models.packaged.pymss import PymssConfig
from unbraid.models.resunet.model import ResUNetConfig
from unbraid.models.sepformer.model import SepFormerConfig
from unbraid.models.sfc.band_split import BandSplitConfig
from unbraid.models.sfc.locoformer import LocoformerConfig
from unbraid.models.sfc.model import SFCConfig
from unbraid.signal.bands import bs_roformer_bands
from unbraid.weights.published.registry import published_models

HTDEMUCS = DemucsConfig(arguments={"bottom_channels": 512})
SIX = DemucsConfig(sources=("drums", "bass", "other", "vocals", "guitar", "piano"))
CHUNK = 11 * 44_100
STEMS = ("drums", "bass", "other", "vocals")
SCNET = PymssConfig(
    network="scnet",
    targets=STEMS,
    rest=None,
    chunk_samples=CHUNK,
    arguments={
        "dims": [4, 64, 128, 256],
        "band_SR": [0.23, 0.37, 0.4],
        "band_stride": [1, 4, 4],
        "band_kernel": [3, 4, 4],
        "conv_depths": [3, 3, 3],
        "num_dplayer": 8,
    },
)
ROFORMER = PymssConfig(
    network="bs_roformer",
    targets=STEMS,
    rest=None,
    chunk_samples=CHUNK,
    arguments={
        "dim": 384,
        "depth": 8,
        "stereo": True,
        "num_stems": 4,
        "time_transformer_depth": 1,
        "freq_transformer_depth": 1,
        "freqs_per_bands": list(bs_roformer_bands(1025).widths),
        "stft_hop_length": 441,
        "mlp_expansion_factor": 2,
    },
)


def locoformer(num_blocks: int, dim: int, groups: int, heads: int, hidden: int) -> SFCConfig:
    sequence = SelfAttentionConfig(num_heads=heads, inner_dim=dim)
    separator = LocoformerConfig(
        dim=dim, num_blocks=num_blocks, num_groups=groups, sequence=sequence, feedforward_dims=(hidden, hidden)
    )
    return SFCConfig(
        band_scale="bs-roformer",
        num_bands=62,
        compression=BandSplitConfig(norm="chunk"),
        separator=separator,
        scaling="each-channel",
        frames="released",
    )


def sepformer(rate: int, num_speakers: int) -> SepFormerConfig:
    return SepFormerConfig(sample_rate=rate, sources=tuple(f"speaker{number + 1}" for number in range(num_speakers)))


CONFIGS: dict[str, tuple[ModelConfig, int]] = {
    "htdemucs": (HTDEMUCS, 1),
    "htdemucs_ft": (HTDEMUCS, 4),
    "htdemucs_6s": (SIX, 1),
    "sfc-music-small": (replace(PRESETS["sfc-ca-small"], frames="released"), 1),
    "sfc-music-medium": (replace(PRESETS["sfc-ca-medium"], frames="released"), 1),
    "sfc-film-small": (replace(PRESETS["sfc-ca-small-cinematic"], frames="released"), 1),
    "sfc-film-medium": (replace(PRESETS["sfc-ca-medium-cinematic"], frames="released"), 1),
    "bs-locoformer-small": (locoformer(4, 96, 4, 4, 128), 1),
    "bs-locoformer-medium": (locoformer(6, 128, 8, 8, 192), 1),
    "bs-locoformer-large": (locoformer(9, 192, 8, 8, 256), 1),
    "scnet-xl": (SCNET, 1),
    "bs-roformer": (ROFORMER, 1),
    "resunet-vocals": (ResUNetConfig(sources=("vocals",), level="as-given"), 1),
    "resunet-accompaniment": (ResUNetConfig(sources=("accompaniment",), level="as-given"), 1),
    "sepformer-wsj0-2mix": (sepformer(8000, 2), 1),
    "sepformer-wsj0-3mix": (sepformer(8000, 3), 1),
    "sepformer-libri2mix": (sepformer(8000, 2), 1),
    "sepformer-libri3mix": (sepformer(8000, 3), 1),
    "sepformer-wham": (sepformer(8000, 2), 1),
    "sepformer-whamr": (sepformer(8000, 2), 1),
    "sepformer-whamr16k": (sepformer(16_000, 2), 1),
}
"""Sizes as published, and how many such networks a model runs."""


def cost(config: ModelConfig) -> tuple[float, int]:
    """CPU seconds per second of audio, and parameters."""
    model = build_model(config)
    spec = model.spec
    length = round(spec.chunk_seconds * spec.sample_rate)
    mixture = 0.1 * torch.randn(1, spec.num_channels, length)
    with torch.inference_mode():
        model(mixture[..., : length // 8])  # whatever is prepared at first use
        began = time.process_time()
        model(mixture)
        seconds = time.process_time() - began
    return seconds * spec.sample_rate / length, sum(parameter.numel() for parameter in model.parameters())


def run(names: tuple[str, ...] = ()) -> None:
    assert set(CONFIGS) == set(published_models()), set(CONFIGS) ^ set(published_models())
    print(machine.describe())
    known: dict[str, tuple[float, int]] = {}
    for name in names or CONFIGS:
        config, members = CONFIGS[name]
        if repr(config) not in known:
            known[repr(config)] = cost(config)
        seconds, parameters = known[repr(config)]
        print(f"{name:22} cpu_seconds = {members * seconds:.2g}  {members * parameters:>12,} parameters", flush=True)


if __name__ == "__main__":
    torch.set_num_threads(1)
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME")
    run(tuple(parser.parse_args().names))

"""Every kind of SFC learns: dialogue, music and effects apart, on a minute of real sound."""

from dataclasses import replace
from pathlib import Path

import pytest
import soundfile
import torch

from unbraid.layers.attention import SelfAttentionConfig
from unbraid.layers.recurrent import RecurrentConfig
from unbraid.losses.distances import negative_snr
from unbraid.models.sfc.band_split import BandSplitConfig
from unbraid.models.sfc.cross_attention import CrossAttentionConfig
from unbraid.models.sfc.dual_path import DualPathConfig
from unbraid.models.sfc.locoformer import LocoformerConfig
from unbraid.models.sfc.mamba import MambaCompressionConfig
from unbraid.models.sfc.model import SFC, SFCConfig

pytestmark = pytest.mark.slow

CLIPS = Path(__file__).parents[1] / "clips"
SOURCES = ("dialogue", "music", "effects")
SMALL = SFCConfig(
    sample_rate=16_000,
    num_channels=1,
    sources=SOURCES,
    n_fft=384,
    num_bands=20,
    compression=CrossAttentionConfig(inner_dim=8),
    separator=LocoformerConfig(
        dim=16,
        num_blocks=2,
        sequence=SelfAttentionConfig(inner_dim=16),
        feedforward_dims=(24, 24),
        kernel_size=4,
        dropout=0.0,
    ),
)
KINDS = {
    "sfc-ca": SMALL,
    "sfc-ca adaptive": replace(SMALL, compression=CrossAttentionConfig(inner_dim=8, queries="adaptive")),
    "sfc-mamba": replace(SMALL, compression=MambaCompressionConfig(inner_dim=8)),
    "bs": replace(SMALL, compression=BandSplitConfig()),
    "sfc-ca dual path": replace(
        SMALL, separator=DualPathConfig(dim=16, num_blocks=2, sequence=RecurrentConfig(hidden_dim=16))
    ),
}
STEPS, BATCH, SECONDS = 300, 2, 1.0


def draw(parts, count, generator):
    """References (count, source, 1, sample): a piece of each part at a level of its own."""
    length = int(SECONDS * SMALL.sample_rate)
    starts = torch.randint(0, parts.shape[-1] - length, (count, len(parts)), generator=generator)
    pieces = [[part[start : start + length] for part, start in zip(parts, row, strict=True)] for row in starts]
    gains = 10 ** ((torch.rand(count, len(parts), 1, generator=generator) * 6 - 3) / 20)
    return (torch.stack([torch.stack(row) for row in pieces]) * gains).unsqueeze(2)


@pytest.mark.parametrize("kind", KINDS)
def test_it_learns_to_take_real_sound_apart(kind):
    torch.manual_seed(0)
    parts = torch.stack(
        [torch.from_numpy(soundfile.read(CLIPS / f"{name}.ogg", dtype="float32")[0]) for name in SOURCES]
    )
    model, generator = SFC(KINDS[kind]).train(), torch.Generator().manual_seed(0)
    optimiser = torch.optim.AdamW(model.parameters(), lr=3e-3)
    for step in range(STEPS):
        references = draw(parts, BATCH, generator)
        loss = negative_snr(model(references.sum(dim=1)), references).mean()
        optimiser.param_groups[0]["lr"] = 3e-3 * min(1, (step + 1) / 20)
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 5.0)
        optimiser.step()
    references = draw(parts, 16, torch.Generator().manual_seed(1))
    mixture = references.sum(dim=1)
    with torch.inference_mode():
        after = -negative_snr(model.eval()(mixture), references)
    before = -negative_snr(mixture.unsqueeze(1).expand_as(references), references)
    assert (after - before).mean() > 3, f"{kind}: {(after - before).mean():.2f} dB"

"""Causal S4M: separates speakers while they speak.

ours, after S4M (C. Chen et al., Interspeech 2023). What looked ahead or at the whole looks back:

    mixture -> encoder -> norm -> bottleneck -> ONE block, run `num_rounds` times -> masks -> decoder -> estimates

* S4 reads forwards only and carries its state; all filters see a frame and those before it.
* Norms are taken over each frame, instead of over the whole: nothing to carry, no start that differs, no pause to
  forget. The masks do not depend on the level of the mixture, so that it need not be known.
* Frames come in groups of `2^(depth-1)`, for each of which the coarsest level has one. Within a group the levels
  see each other as in S4M. So a group is what has to be waited for, and the decoder's overlap behind it.

A session keeps the last frames before every filter and the states of S4, for every round, which is of fixed size.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Literal

import torch
from einops import rearrange
from torch import nn
from torch.nn import functional as F

from unbraid.axes import Float, Tensor
from unbraid.errors import ConfigError, SignalError
from unbraid.layers.activation import PReLU
from unbraid.layers.convolution import DepthwiseConv, pool_average
from unbraid.layers.linear import Linear
from unbraid.layers.memory import Checkpointed
from unbraid.layers.state_space import StateSpaceConfig
from unbraid.models.contract import ModelSpec, SeparationModel
from unbraid.models.live import LiveSession
from unbraid.models.s4m.causal_live import CarriedRounds
from unbraid.models.s4m.causal_parts import CausalConvNorm, CausalFusion
from unbraid.models.s4m.config import check_filters
from unbraid.models.s4m.parts import FeedForwardResidual, StateSpaceResidual
from unbraid.options import PositiveFloat, PositiveInt, SampleRate, check_options
from unbraid.signal.frames import add_frames

_GROUPS_AT_ONCE = 64
"""Groups of frames that a session computes together where so many are waiting; bounds its memory."""


@dataclass(frozen=True, kw_only=True)
class CausalS4MConfig:
    """Settings of causal S4M; the defaults have a latency of 22 ms at 16 kHz."""

    sample_rate: SampleRate = 16_000
    """Rate of mixture and estimates, in Hz."""

    sources: tuple[str, ...] = ("speaker1", "speaker2")
    """Names of the speakers; their number is the number of estimates."""

    kernel_ms: PositiveFloat = 8.0
    """Length of the encoder's filters, in milliseconds; they advance by a quarter of it."""

    bottleneck_dim: PositiveInt = 128
    """Features that the rounds hand on."""

    hidden_dim: PositiveInt = 256
    """Features inside the block, the same at every level."""

    num_rounds: PositiveInt = 4
    """How often the one shared block runs."""

    depth: PositiveInt = 4
    """Levels of the block; each halves the number of frames, and each after the first doubles what is waited for."""

    feedforward_factor: PositiveInt = 2
    """Width of the feed-forward part over `hidden_dim`."""

    state_space: StateSpaceConfig = field(default_factory=lambda: StateSpaceConfig(bidirectional=False))
    """The state-space layer at the coarsest level, which hears forwards only."""

    hears: Literal["past"] = "past"
    """What an estimate is made of. S4M has all other settings as well: by this one a stored config is told from its."""

    chunk_seconds: PositiveFloat = 10.0
    """Pieces for recordings that are separated as files."""

    def __post_init__(self) -> None:
        check_options(self)
        if self.state_space.bidirectional:
            raise ConfigError("state_space.bidirectional looks ahead: set it to false, or take S4M")
        check_filters(self.kernel_ms, self.sample_rate)

    @property
    def kernel_samples(self) -> int:
        return int(self.kernel_ms * self.sample_rate / 1000)

    @property
    def stride_samples(self) -> int:
        return self.kernel_samples // 4

    @property
    def group_frames(self) -> int:
        """Frames that the coarsest level sums up in one."""
        return 2 ** (self.depth - 1)

    @property
    def group_samples(self) -> int:
        return self.group_frames * self.stride_samples

    @property
    def overlap_samples(self) -> int:
        """What the frames of one group and the next share."""
        return self.kernel_samples - self.stride_samples


class CausalS4M(SeparationModel[CausalS4MConfig]):
    """Speakers of a mono mixture, with a latency of one group of frames and the encoder's overlap."""

    def __init__(self, config: CausalS4MConfig) -> None:
        super().__init__()
        self.config = config
        self.spec = ModelSpec(
            sample_rate=config.sample_rate,
            num_channels=1,
            sources=config.sources,
            exchangeable=True,
            chunk_seconds=config.chunk_seconds,
            latency_samples=config.group_samples + config.overlap_samples,
        )
        kernel, num_sources, basis = config.kernel_samples, len(config.sources), config.kernel_samples // 2 + 1
        self.encoder = nn.Conv1d(1, basis, kernel, config.stride_samples, bias=False)
        # Quiet mixtures have features of 1e-4, so that the usual eps would be part of their level.
        self.norm = nn.LayerNorm(basis, eps=1e-12)
        self.bottleneck = Linear(basis, config.bottleneck_dim)
        self.rounds = CausalRounds(config)
        self.mask_activation = PReLU()
        self.mask = Linear(config.bottleneck_dim, num_sources * basis)
        self.decoder = nn.ConvTranspose1d(num_sources * basis, num_sources, kernel, config.stride_samples, bias=False)
        nn.init.xavier_uniform_(self.encoder.weight)
        nn.init.xavier_uniform_(self.decoder.weight)

    def forward(self, mixture: Float[Tensor, "batch 1 sample"]) -> Float[Tensor, "batch source 1 sample"]:
        num_samples, overlap, group = mixture.shape[-1], self.config.overlap_samples, self.config.group_samples
        num_groups = -(-(num_samples + overlap) // group)
        padded = F.pad(mixture, (overlap, num_groups * group - num_samples))
        rounds = partial(self.rounds, kernel=self.rounds.block.state_space.kernel(num_groups))
        decoded = add_frames(self.pieces(padded, rounds), self.config.stride_samples)
        decoded = rearrange(decoded, "(batch source) sample -> batch source sample", batch=mixture.shape[0])
        return decoded[..., overlap : overlap + num_samples].unsqueeze(2)

    def pieces(
        self, padded: Float[Tensor, "batch 1 sample"], rounds: Callable[[Tensor], Tensor]
    ) -> Float[Tensor, "batch_source frame kernel_sample"]:
        """What every frame of whole groups adds to the estimates, from samples that begin one overlap earlier."""
        # As a product: for some frames, a convolution takes longer to begin than to compute.
        frames = padded.squeeze(1).unfold(1, self.config.kernel_samples, self.config.stride_samples)
        encoded = frames @ self.encoder.weight.squeeze(1).t()
        features = rounds(self.bottleneck(self.norm(encoded)))
        masks = F.relu(self.mask(self.mask_activation(features)))
        masked = (masks.unflatten(-1, (len(self.spec.sources), -1)) * encoded.unsqueeze(2)).flatten(2)
        pieces = masked @ self.decoder.weight.flatten(1)
        kernel = self.config.kernel_samples
        return rearrange(pieces, "batch frame (source sample) -> (batch source) frame sample", sample=kernel)

    def compiled_parts(self) -> tuple[nn.Module, ...]:
        """The block: as a whole, the compiler would unroll its rounds, and take as many times as long."""
        return (self.rounds.block,)

    def open_session(self, batch_size: int = 1) -> CausalS4MSession:
        """A recording that arrives in pieces, or `batch_size` of them side by side."""
        return CausalS4MSession(self, batch_size)


class CausalRounds(Checkpointed):
    """The shared block, run again and again on the bottleneck features plus its own last output."""

    def __init__(self, config: CausalS4MConfig) -> None:
        super().__init__()
        self.num_rounds = config.num_rounds
        self.block = CausalBlock(config)
        self.reinject = DepthwiseConv(config.bottleneck_dim, kernel_size=1)
        self.activation = PReLU()

    def forward(self, bottleneck: Float[Tensor, "batch frame dim"], kernel: Tensor) -> Tensor:
        block = partial(self.block, kernel=kernel)
        features = self.recomputed(block, bottleneck)
        for _ in range(self.num_rounds - 1):
            features = self.recomputed(block, self.activation(self.reinject(bottleneck + features)))
        return features


class CausalBlock(nn.Module):
    """Expand, look at every time scale, let S4 read the coarsest, and carry what it found back to the finest."""

    def __init__(self, config: CausalS4MConfig) -> None:
        super().__init__()
        dim, depth = config.hidden_dim, config.depth
        self.expand = Linear(config.bottleneck_dim, dim)
        self.expand_norm = nn.LayerNorm(dim)
        self.expand_activation = PReLU()
        self.levels = nn.ModuleList(
            CausalConvNorm(dim, kernel_size=5, stride=1 if level == 0 else 2, bias=True) for level in range(depth)
        )
        self.state_space = StateSpaceResidual(dim, config.state_space)
        self.feedforward = FeedForwardResidual(dim, config.feedforward_factor)
        self.lateral = nn.ModuleList(CausalFusion(dim, kernel_size=1) for _ in range(depth))
        self.merges = nn.ModuleList(CausalFusion(dim, kernel_size=5) for _ in range(depth - 1))
        self.contract = Linear(dim, config.bottleneck_dim)

    def forward(self, features: Float[Tensor, "batch frame dim"], kernel: Tensor) -> Float[Tensor, "batch frame dim"]:
        """`kernel` is that of the state-space layer for as many frames as there are groups."""
        hidden = self.expand_activation(self.expand_norm(self.expand(features)))
        levels: list[Tensor] = []
        for level in self.levels:
            hidden = level(hidden)
            levels.append(hidden)
        summary = torch.stack([pool_average(level, hidden.shape[1]) for level in levels]).sum(0)
        summary = self.feedforward(self.state_space(summary, kernel))
        fused = [fusion(level, summary) for fusion, level in zip(self.lateral, levels, strict=True)]
        merged = fused[-1]
        for index in range(len(fused) - 2, -1, -1):
            merged = self.merges[index](fused[index], merged)
        return self.contract(merged) + features


class CausalS4MSession(LiveSession):
    """Groups of frames as soon as they are complete; see `LiveSession`."""

    def __init__(self, model: CausalS4M, batch_size: int) -> None:
        self._model, self._batch_size = model, batch_size
        self.latency_samples = model.config.group_samples + model.config.overlap_samples
        with torch.inference_mode():
            self._rounds = CarriedRounds(model.rounds, batch_size)
            self._begin()

    def _begin(self) -> None:
        config, weight = self._model.config, self._model.bottleneck.weight
        self._rounds.begin()
        # The encoder's first frame begins one overlap before the first sample.
        self._waiting = weight.new_zeros(self._batch_size, 1, config.overlap_samples)
        self._tail = weight.new_zeros(self._batch_size * len(config.sources), config.overlap_samples)
        self._ahead = config.overlap_samples
        self._taken, self._given = 0, 0

    @property
    def num_values(self) -> int:
        """Numbers that are kept from one group to the next."""
        return self._rounds.num_values + self._waiting.numel() + self._tail.numel()

    @torch.inference_mode()
    def push(self, mixture: Float[Tensor, "batch 1 sample"]) -> Float[Tensor, "batch source 1 out_sample"]:
        if mixture.shape[:2] != (self._batch_size, 1):
            raise SignalError(
                f"the session takes ({self._batch_size}, 1, samples), not {tuple(mixture.shape)}: open another one"
            )
        if not mixture.isfinite().all():
            raise SignalError("the samples hold numbers that are NaN or infinite: replace them before they are pushed")
        self._taken += mixture.shape[-1]
        self._waiting = torch.cat([self._waiting, mixture.to(self._waiting)], dim=-1)
        outputs = [self._advance(groups) for groups in self._whole_groups()]
        return torch.cat(outputs, dim=-1) if outputs else self._nothing()

    @torch.inference_mode()
    def flush(self) -> Float[Tensor, "batch source 1 out_sample"]:
        config, missing = self._model.config, self._taken - self._given
        silence = self._waiting.new_zeros(self._batch_size, 1, missing + config.group_samples + config.overlap_samples)
        self._waiting = torch.cat([self._waiting, silence], dim=-1)
        outputs = [self._nothing(), *(self._advance(groups) for groups in self._whole_groups())]
        rest = torch.cat(outputs, dim=-1)[..., :missing]
        self._begin()
        return rest

    def _whole_groups(self) -> list[Tensor]:
        """Takes the groups of frames that are complete from what is waiting, a bounded number at a time."""
        config = self._model.config
        group, overlap = config.group_samples, config.overlap_samples
        count = (self._waiting.shape[-1] - overlap) // group
        taken = []
        for first in range(0, count, _GROUPS_AT_ONCE):
            size = min(_GROUPS_AT_ONCE, count - first)
            taken.append(self._waiting[..., first * group : (first + size) * group + overlap])
        self._waiting = self._waiting[..., count * group :].clone()
        return taken

    def _advance(self, samples: Float[Tensor, "batch 1 sample"]) -> Float[Tensor, "batch source 1 out_sample"]:
        config, overlap = self._model.config, self._model.config.overlap_samples
        decoded = add_frames(self._model.pieces(samples, self._rounds), config.stride_samples)
        decoded[:, :overlap] += self._tail
        self._tail = decoded[:, -overlap:].clone()
        ready = rearrange(
            decoded[:, :-overlap], "(batch source) sample -> batch source 1 sample", batch=samples.shape[0]
        )
        ahead = min(self._ahead, ready.shape[-1])
        self._ahead -= ahead
        self._given += ready.shape[-1] - ahead
        return ready[..., ahead:]

    def _nothing(self) -> Tensor:
        return self._tail.new_zeros(self._batch_size, len(self._model.config.sources), 1, 0)

"""Hybrid Transformer Demucs and its older kin, whose networks the package demucs (MIT) brings.

S. Rouard, F. Massa, A. Défossez, "Hybrid Transformers for Music Source Separation", ICASSP 2023, arXiv 2211.08553.

Only the network is the package's. Its loaders, which build whatever class a file names, are never called; the class
comes from the table below and its arguments are checked. Input is wanted with the mean and deviation of the whole
recording, as demucs gives it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from fractions import Fraction
from importlib import import_module
from typing import Literal

from torch import nn

from unbraid.axes import Float, Tensor
from unbraid.errors import ConfigError, MissingExtraError
from unbraid.models.contract import ModelSpec, SeparationModel
from unbraid.models.packaged.arguments import check_arguments
from unbraid.models.packaged.pieces import in_pieces
from unbraid.options import PositiveInt, SampleRate, check_options

DemucsNetwork = Literal["HTDemucs", "HDemucs", "Demucs"]
_MODULES: dict[str, str] = {"HTDemucs": "demucs.htdemucs", "HDemucs": "demucs.hdemucs", "Demucs": "demucs.demucs"}
_LARGEST_DEPTH = 12

_SHARED = "channels growth depth rewrite kernel_size stride context norm_starts norm_groups dconv_depth dconv_comp"
_SHARED += " dconv_init rescale"
_HYBRID = " channels_time nfft wiener_iters end_iters wiener_residual cac multi_freqs multi_freqs_depth freq_emb"
_HYBRID += " emb_scale emb_smooth time_stride context_enc dconv_mode"
_TRANSFORMER = " bottom_channels t_layers t_hidden_scale t_heads t_dropout t_max_positions t_norm_in t_norm_in_group"
_TRANSFORMER += " t_group_norm t_norm_first t_norm_out t_max_period t_weight_decay t_lr t_layer_scale t_gelu"
_TRANSFORMER += " t_weight_pos_embed t_sin_random_shift t_cape_mean_normalize t_cape_augment t_cape_glob_loc_scale"
_TRANSFORMER += " t_sparse_self_attn t_sparse_cross_attn t_mask_random_seed t_sparse_attn_window t_global_window"
_TRANSFORMER += " t_sparsity t_auto_sparsity t_cross_first use_train_segment"
_DCONV = " dconv_attn dconv_lstm"
_KNOWN: dict[str, frozenset[str]] = {
    "HTDemucs": frozenset((_SHARED + _HYBRID + _TRANSFORMER).split()),
    "HDemucs": frozenset((_SHARED + _HYBRID + _DCONV + " hybrid hybrid_old").split()),
    "Demucs": frozenset((_SHARED + _DCONV + " dconv_mode lstm_layers gelu glu normalize resample").split()),
}
_WORDS = {
    "t_emb": frozenset({"sin", "cape", "scaled"}),
    "t_mask_type": frozenset({"diag", "jmask", "random", "global"}),
}


@dataclass(frozen=True, kw_only=True)
class DemucsConfig:
    """Settings of a network of the package demucs; the defaults are htdemucs's, without weights."""

    network: DemucsNetwork = "HTDemucs"
    """The class; no other is ever built."""

    sample_rate: SampleRate = 44_100
    """Rate of mixture and estimates, in Hz."""

    num_channels: PositiveInt = 2

    sources: tuple[str, ...] = ("drums", "bass", "other", "vocals")
    """Names of the stems, in the order of the estimates."""

    segment: tuple[PositiveInt, PositiveInt] = (39, 5)
    """Seconds of a piece as numerator and denominator; HTDemucs takes no longer ones."""

    arguments: dict[str, object] = field(default_factory=dict)
    """Of the class, as the file gives them: numbers, lists of numbers, and a few words."""

    def __post_init__(self) -> None:
        check_options(self)
        check_arguments(self.network, self.arguments, _KNOWN[self.network], _WORDS)
        depth = self.arguments.get("depth", 4)
        if not isinstance(depth, int) or not 1 <= depth <= _LARGEST_DEPTH:
            raise ConfigError(f"{self.network}: 'depth' lies between 1 and {_LARGEST_DEPTH}, not {depth}")
        if not 0.1 <= float(Fraction(*self.segment)) <= 600:
            raise ConfigError(f"segment is a fraction between 0.1 and 600 seconds, not {self.segment}")

    @property
    def piece_samples(self) -> int:
        return int(Fraction(*self.segment) * self.sample_rate)


class PackagedDemucs(SeparationModel[DemucsConfig]):
    """A network of demucs for mixtures of any length."""

    def __init__(self, config: DemucsConfig) -> None:
        super().__init__()
        self.config = config
        self.spec = ModelSpec(
            sample_rate=config.sample_rate,
            num_channels=config.num_channels,
            sources=config.sources,
            exchangeable=False,
            chunk_seconds=config.piece_samples / config.sample_rate,
            level="whole-file",
        )
        self.network = _network_class(config.network)(
            sources=list(config.sources),
            audio_channels=config.num_channels,
            samplerate=config.sample_rate,
            segment=Fraction(*config.segment),
            **config.arguments,
        )

    def forward(self, mixture: Float[Tensor, "batch channel sample"]) -> Float[Tensor, "batch source channel sample"]:
        return in_pieces(self._piece, mixture, self.config.piece_samples)

    def _piece(self, mixture: Tensor) -> Tensor:
        if self.config.network != "Demucs":
            return self.network(mixture)
        # The time-domain network takes certain lengths only.
        valid_length: Callable[[int], int] = self.network.valid_length  # type: ignore[assignment]
        missing = valid_length(mixture.shape[-1]) - mixture.shape[-1]
        padded = nn.functional.pad(mixture, (missing // 2, missing - missing // 2))
        return self.network(padded)[..., missing // 2 : missing // 2 + mixture.shape[-1]]


def _network_class(name: str) -> Callable[..., nn.Module]:
    try:
        module = import_module(_MODULES[name])
    except ImportError as error:
        raise MissingExtraError("demucs", "zoo", f"the network {name}") from error
    network: Callable[..., nn.Module] = getattr(module, name)
    return network

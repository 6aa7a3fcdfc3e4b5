"""RoFormers, MDX23C, SCNet, Bandit and Bandit v2, whose networks the package pymss-core (MIT) brings.

W.-T. Lu et al., "Music Source Separation with Band-Split RoPE Transformer", arXiv 2309.02612 (BS-RoFormer); J.-C. Wang
et al., arXiv 2310.01809 (Mel-RoFormer); M. Kim et al., arXiv 2306.09382 (TFC-TDF v3); W. Tong et al., "SCNet", ICASSP
2024; K. N. Watcharasupat et al., arXiv 2309.02539 (Bandit, whose published form is called Bandit Plus) and arXiv
2407.07275 (Bandit v2).

Only the network is the package's: classes come from the table below, arguments are checked, and files are read by us.
A network with a single target gives a second stem, which is the mixture without the first.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field
from importlib import import_module
from typing import Annotated, Any, Literal

import torch
from torch import nn
from torch.nn import functional as F

from unbraid.axes import Float, Tensor
from unbraid.errors import ConfigError, MissingExtraError
from unbraid.models.contract import InputLevel, ModelSpec, SeparationModel
from unbraid.models.packaged.arguments import check_arguments
from unbraid.models.packaged.pieces import in_pieces
from unbraid.options import PositiveInt, Range, SampleRate, check_options

PymssNetwork = Literal["bs_roformer", "mel_band_roformer", "mdx23c", "scnet", "bandit", "bandit_v2"]
_CLASSES: dict[str, tuple[str, str]] = {
    "bs_roformer": ("bs_roformer", "BSRoformer"),
    "mel_band_roformer": ("bs_roformer", "MelBandRoformer"),
    "mdx23c": ("mdx23c_tfc_tdf_v3", "TFC_TDF_net"),
    "scnet": ("scnet", "SCNet"),
    "bandit": ("bandit.core.model", "MultiMaskMultiSourceBandSplitRNNSimple"),
    "bandit_v2": ("bandit_v2.bandit", "Bandit"),
}
_ROFORMER = "dim depth stereo num_stems time_transformer_depth freq_transformer_depth dim_head heads attn_dropout"
_ROFORMER += " ff_dropout flash_attn stft_n_fft stft_hop_length stft_win_length stft_normalized mask_estimator_depth"
_ROFORMER += (
    " mlp_expansion_factor use_shared_bias zero_dc skip_connection ff_mult norm_output linear_transformer_depth"
)
_ROFORMER += " multi_stft_resolution_loss_weight multi_stft_resolutions_window_sizes multi_stft_hop_size"
_ROFORMER += " multi_stft_normalized use_torch_checkpoint sage_attention attention_layout dim_freqs_in"
_MDX23C = "num_subbands num_scales scale num_blocks_per_scale num_channels growth bottleneck_factor"
_MDX23C += " n_fft hop_length dim_f dim_t"
_SCNET = "audio_channels dims nfft hop_size win_size normalized band_SR band_stride band_kernel conv_depths compress"
_SCNET += " conv_kernel num_dplayer expand"
_BANDIT = "fs n_bands require_no_overlap require_no_gap normalize_channel_independently n_sqm_modules"
_BANDIT += " treat_channel_as_feature emb_dim rnn_dim bidirectional mlp_dim complex_mask use_freq_weights n_fft"
_BANDIT += " win_length hop_length power center normalized onesided hidden_activation_kwargs wkwargs"
_KNOWN: dict[str, frozenset[str]] = {
    "bs_roformer": frozenset((_ROFORMER + " freqs_per_bands use_pope").split()),
    "mel_band_roformer": frozenset((_ROFORMER + " num_bands sample_rate match_input_audio_length").split()),
    "mdx23c": frozenset(_MDX23C.split()),
    "scnet": frozenset(_SCNET.split()),
    "bandit": frozenset((_BANDIT + " in_channel normalize_input freeze_encoder").split()),
    "bandit_v2": frozenset((_BANDIT + " in_channels").split()),
}
_BANDIT_WORDS = {
    "rnn_type": frozenset({"LSTM", "GRU"}),
    "hidden_activation": frozenset({"Tanh", "ReLU", "GELU"}),
    "window_fn": frozenset({"hann_window"}),
    "pad_mode": frozenset({"constant", "reflect"}),
}
_WORDS = {
    "mdx23c": {
        "norm": frozenset({"BatchNorm", "InstanceNorm", "GroupNorm4", "GroupNorm8", "GroupNorm16"}),
        "act": frozenset({"gelu", "relu", "elu0.5", "elu1"}),
    },
    "bandit": {
        "band_specs": frozenset({"musical", "mel", "bark", "tribark", "erb", "dnr:speech", "musdb:vocals"}),
        **_BANDIT_WORDS,
    },
    "bandit_v2": {"band_type": frozenset({"musical"}), **_BANDIT_WORDS},
}
_DEEPEST = 64


@dataclass(frozen=True, kw_only=True)
class PymssConfig:
    """Settings of a network of the package pymss-core; the defaults are a BS-RoFormer of usual size."""

    network: PymssNetwork = "bs_roformer"
    """Which of the package's networks; no other is ever built."""

    sample_rate: SampleRate = 44_100
    """Rate of mixture and estimates, in Hz."""

    num_channels: PositiveInt = 2

    targets: tuple[str, ...] = ("vocals",)
    """What the network estimates, in its order."""

    rest: str | None = "instrumental"
    """Name of the stem that is the mixture without the targets; None: no such stem."""

    chunk_samples: Annotated[int, Range(at_least=1000.0, at_most=float(1 << 26))] = 352_800
    """Samples that the network is trained on; longer mixtures are cut."""

    level: InputLevel = "as-given"
    """How loud the network wants its input, which differs from one trained model to the next."""

    arguments: dict[str, object] = field(
        default_factory=lambda: {"dim": 384, "depth": 8, "stereo": True, "num_stems": 1, "time_transformer_depth": 1}
    )
    """Of the class, as the file gives them: numbers, lists of numbers, and a few words."""

    def __post_init__(self) -> None:
        check_options(self)
        check_arguments(self.network, self.arguments, _KNOWN[self.network], _WORDS.get(self.network, {}))
        for name in ("depth", "num_scales", "num_dplayer", "n_sqm_modules"):
            value = self.arguments.get(name, 1)
            if not isinstance(value, int) or not 1 <= value <= _DEEPEST:
                raise ConfigError(f"{self.network}: '{name}' lies between 1 and {_DEEPEST}, not {value}")

    @property
    def sources(self) -> tuple[str, ...]:
        return (*self.targets, self.rest) if self.rest else self.targets


class PackagedPymss(SeparationModel[PymssConfig]):
    """A network of pymss-core for mixtures of any length."""

    def __init__(self, config: PymssConfig) -> None:
        super().__init__()
        self.config = config
        self.spec = ModelSpec(
            sample_rate=config.sample_rate,
            num_channels=config.num_channels,
            sources=config.sources,
            exchangeable=False,
            chunk_seconds=config.chunk_samples / config.sample_rate,
            level=config.level,
        )
        self.network = _build_network(config)

    def forward(self, mixture: Float[Tensor, "batch channel sample"]) -> Float[Tensor, "batch source channel sample"]:
        return in_pieces(self._piece, mixture, self.config.chunk_samples)

    def _piece(self, mixture: Float[Tensor, "batch channel sample"]) -> Float[Tensor, "batch source channel sample"]:
        with warnings.catch_warnings():
            # SCNet is trained with the rectangular window that PyTorch warns of.
            warnings.filterwarnings("ignore", message="A window was not provided")
            estimates = self.network(mixture)
        if estimates.dim() == 3:
            estimates = estimates.unsqueeze(1)
        missing = mixture.shape[-1] - estimates.shape[-1]
        estimates = F.pad(estimates, (0, missing))
        if self.config.rest is None:
            return estimates
        return torch.cat([estimates, (mixture - estimates.sum(dim=1)).unsqueeze(1)], dim=1)


def _build_network(config: PymssConfig) -> nn.Module:
    module, name = _CLASSES[config.network]
    try:
        network_class: Any = getattr(import_module(f"pymss_core.modules.{module}"), name)
        from pymss_core import AttrDict
    except ImportError as error:
        raise MissingExtraError("pymss-core", "zoo", f"the network {config.network}") from error
    arguments = {key: tuple(value) if isinstance(value, list) else value for key, value in config.arguments.items()}
    match config.network:
        case "mdx23c":
            audio = {key: arguments.pop(key) for key in ("n_fft", "hop_length", "dim_f", "dim_t") if key in arguments}
            audio["num_channels"] = config.num_channels
            training = {"instruments": list(config.targets), "target_instrument": None}
            if len(config.targets) == 1:
                training["target_instrument"] = config.targets[0]
            return network_class(AttrDict({"audio": audio, "model": arguments, "training": training}))
        case "scnet":
            return network_class(sources=list(config.targets), **arguments)
        case "bandit" | "bandit_v2":
            return network_class(stems=list(config.targets), **arguments)
    return network_class(**arguments)

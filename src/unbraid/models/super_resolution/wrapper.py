"""Any separator of the catalog with a network on its estimates: SFSRNet's super-resolution, or one of ours.

    build_model(WithSuperResolutionConfig(separator=PRESETS["s4m-tiny"]))       # by its config, which can be stored
    WithSuperResolution(separator, SuperResolutionConfig())                     # around a model that is there already

Weights of the separator are named `separator.*`, those of the network `super_resolution.*`; training with `init` puts
the weights of a plain separator where they belong, and with `freeze=separator` it trains the network alone.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import nn

from unbraid.axes import Float, Tensor
from unbraid.models.contract import SeparationModel
from unbraid.models.dprnn.model import DPRNNConfig
from unbraid.models.mtfa.model import MTFAConfig
from unbraid.models.resunet.model import ResUNetConfig
from unbraid.models.s4m.causal import CausalS4MConfig
from unbraid.models.s4m.model import S4MConfig
from unbraid.models.sepformer.model import SepFormerConfig
from unbraid.models.sfc.model import SFCConfig
from unbraid.models.super_resolution.network import SuperResolution, SuperResolutionConfig
from unbraid.models.super_resolution.post_filter import PostFilter, PostFilterConfig
from unbraid.models.super_resolution.time_domain import TimeSuperResolution, TimeSuperResolutionConfig
from unbraid.options import check_options
from unbraid.signal.assignment import cheapest_assignment

NetworkConfig = S4MConfig | CausalS4MConfig | SFCConfig | DPRNNConfig | SepFormerConfig | ResUNetConfig | MTFAConfig
"""What can be wrapped: every architecture of the catalog but this one."""

RefinementConfig = SuperResolutionConfig | TimeSuperResolutionConfig | PostFilterConfig
"""The paper's network, which mends magnitudes, and ours, which mend waveforms or weigh bins."""

_NETWORKS: dict[type[RefinementConfig], type[nn.Module]] = {
    SuperResolutionConfig: SuperResolution,
    TimeSuperResolutionConfig: TimeSuperResolution,
    PostFilterConfig: PostFilter,
}


@dataclass(frozen=True, kw_only=True)
class WithSuperResolutionConfig:
    """A separator and the network that mends its estimates."""

    separator: NetworkConfig = field(default_factory=S4MConfig)

    super_resolution: RefinementConfig = field(default_factory=SuperResolutionConfig)

    both_polarities: bool = False
    """The separator hears the mixture twice, once upside down, and the mean of both is refined.

    ours: upside down it sounds the same, and a separator of waveforms errs in another way. Costs the separator twice.
    """

    def __post_init__(self) -> None:
        check_options(self)


class WithSuperResolution(SeparationModel[WithSuperResolutionConfig | RefinementConfig]):
    """A separator whose estimates are refined; it takes and gives what the separator takes and gives."""

    refines = True

    def __init__(
        self, separator: SeparationModel, super_resolution: RefinementConfig, both_polarities: bool = False
    ) -> None:
        """A separator that is not of the catalog can be wrapped too, but then not be stored."""
        super().__init__()
        self.spec = separator.spec
        self.separator, self.both_polarities = separator, both_polarities
        build = _NETWORKS[type(super_resolution)]
        self.super_resolution = build(super_resolution, self.spec.sample_rate, self.spec.num_sources)
        # Around a separator that is not of the catalog, the settings known are those of the network.
        self.config = super_resolution
        if isinstance(separator.config, NetworkConfig):
            self.config = WithSuperResolutionConfig(
                separator=separator.config, super_resolution=super_resolution, both_polarities=both_polarities
            )

    def forward(self, mixture: Float[Tensor, "batch channel sample"]) -> Float[Tensor, "batch source channel sample"]:
        return self.super_resolution(mixture, self.separate(mixture))

    def separate(self, mixture: Float[Tensor, "batch channel sample"]) -> Float[Tensor, "batch source channel sample"]:
        """What the network is given to refine."""
        return self._mean(self.separator(self._heard(mixture)))

    def intermediate_estimates(
        self, mixture: Float[Tensor, "batch channel sample"]
    ) -> tuple[Float[Tensor, "batch source channel sample"], ...]:
        """The separator's intermediate estimates, and last the refined ones."""
        estimates = tuple(map(self._mean, self.separator.intermediate_estimates(self._heard(mixture))))
        return (*estimates, self.super_resolution(mixture, estimates[-1]))

    def _heard(self, mixture: Float[Tensor, "batch channel sample"]) -> Float[Tensor, "heard channel sample"]:
        """What the separator hears: each mixture, and then each upside down."""
        return torch.cat([mixture, -mixture]) if self.both_polarities else mixture

    def _mean(
        self, estimates: Float[Tensor, "heard source channel sample"]
    ) -> Float[Tensor, "batch source channel sample"]:
        """Of both polarities; where the order of sources means nothing, each with the one that is most like it."""
        if not self.both_polarities:
            return estimates
        upright, others = estimates.unflatten(0, (2, -1))
        if self.spec.exchangeable:
            # Upside down, the most alike correlate least.
            order = cheapest_assignment(torch.einsum("bocs, bics -> boi", others, upright))
            others = others.gather(1, order[:, :, None, None].expand_as(others))
        return (upright - others) / 2

    def compiled_parts(self) -> tuple[nn.Module, ...]:
        """Those of the separator, and the network on top."""
        return (*self.separator.compiled_parts(), self.super_resolution)

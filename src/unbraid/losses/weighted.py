"""The loss of a training run: a weighted sum of named distances, all under one assignment of exchangeable sources."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Literal, NamedTuple, get_type_hints

import torch

from unbraid.axes import Bool, Float, Tensor
from unbraid.errors import ConfigError, UnknownNameError
from unbraid.losses.distances import (
    mixture_consistency,
    negative_si_sdr,
    negative_snr,
    thresholded_snr,
    waveform_l1,
    waveform_l2,
)
from unbraid.losses.permutation import mean_above, mean_where, pairwise_distances, reorder
from unbraid.losses.spectral import multi_resolution_stft
from unbraid.options import NonNegativeFloat, check_option, check_options
from unbraid.signal.assignment import cheapest_assignment

DISTANCES: dict[str, Callable[..., Tensor]] = {
    "snr": negative_snr,
    "si-sdr": negative_si_sdr,
    "thresholded-snr": thresholded_snr,
    "l1": waveform_l1,
    "l2": waveform_l2,
    "multi-resolution-stft": multi_resolution_stft,
    "mixture-consistency": mixture_consistency,
}
"""Every distance by the name that a loss term takes."""

_SIGNALS = ("estimate", "reference", "mixture")


@dataclass(frozen=True, kw_only=True)
class LossTerm:
    """One distance of the sum."""

    name: str
    """One of `DISTANCES`."""

    weight: NonNegativeFloat = 1.0

    settings: Mapping[str, object] = field(default_factory=dict)
    """Keyword arguments of the distance, such as {"snr_max_db": 30.0}."""

    def __post_init__(self) -> None:
        check_options(self)
        if self.name not in DISTANCES:
            raise UnknownNameError(f"there is no loss '{self.name}'; there are: {', '.join(DISTANCES)}")
        known = [name for name in inspect.signature(DISTANCES[self.name]).parameters if name not in _SIGNALS]
        if unknown := sorted(set(self.settings) - set(known)):
            raise ConfigError(
                f"the loss '{self.name}' has no setting '{unknown[0]}'; it has: {', '.join(known) or '-'}"
            )
        allowed = get_type_hints(DISTANCES[self.name], include_extras=True)
        for name, value in self.settings.items():
            check_option(name, value, allowed[name])


@dataclass(frozen=True, kw_only=True)
class LossConfig:
    """A weighted sum of distances; the default is the negative SNR."""

    terms: tuple[LossTerm, ...] = (LossTerm(name="snr"),)

    floor_db: float | None = None
    """Examples whose whole loss is below this no longer count towards the mean; -30 for S4M."""

    below_floor: Literal["mean", "skip"] = "mean"
    """What is learned of a batch all of which is below the floor: its mean counts (TDANet, S4M), or nothing is, and the
    step is skipped (SpeechBrain's SepFormer)."""

    def __post_init__(self) -> None:
        check_options(self)
        if not any(term.name != "mixture-consistency" for term in self.terms):
            raise ConfigError("a loss needs at least one term that compares estimates with references")


class Loss(NamedTuple):
    """A loss and what it is made of."""

    total: Float[Tensor, ""]

    parts: dict[str, Float[Tensor, ""]]
    """Per term its mean before weighting, without gradient."""

    teaches: Bool[Tensor, ""] | None = None
    """Whether any example was left to learn from; None where there always is one."""


class WeightedLoss:
    """Examples in, one number out; no parameters and no state."""

    def __init__(self, config: LossConfig, *, exchangeable: bool) -> None:
        """`exchangeable`: the estimates are assigned to the references so that the sum is least (PIT)."""
        self.config, self.exchangeable = config, exchangeable

    def __call__(
        self,
        estimate: Float[Tensor, "batch source channel sample"],
        reference: Float[Tensor, "batch source channel sample"],
        mixture: Float[Tensor, "batch channel sample"],
        present: Bool[Tensor, "batch source"] | None = None,
    ) -> Loss:
        """`present` is False where a reference is unknown: that source then has no influence."""
        mixture = mixture.unsqueeze(1)
        present = (
            torch.ones(reference.shape[:2], dtype=torch.bool, device=reference.device) if present is None else present
        )
        if self.exchangeable:
            estimate = reorder(estimate, self._assign(estimate, reference, mixture, present))
        values = torch.zeros(len(estimate), device=estimate.device)
        parts: dict[str, Tensor] = {}
        known = present.any(dim=1)
        for term in self.config.terms:
            if term.name == "mixture-consistency":
                value = mixture_consistency(estimate, mixture, **term.settings)  # type: ignore[arg-type]
            else:
                value = mean_present(self._distance(term, mixture)(estimate, reference), present)
            values = values + term.weight * value
            parts[term.name] = mean_where(value.detach(), known)
        if self.config.floor_db is None or self.config.below_floor == "mean":
            return Loss(mean_above(values, self.config.floor_db, known), parts)
        unfinished = known & (values > self.config.floor_db)
        return Loss(mean_where(values, unfinished), parts, unfinished.any())

    @torch.no_grad()
    def _assign(self, estimate: Tensor, reference: Tensor, mixture: Tensor, present: Tensor) -> Tensor:
        pairwise = torch.zeros(*estimate.shape[:2], reference.shape[1], device=estimate.device)
        for term in self.config.terms:
            if term.name != "mixture-consistency":
                pairwise += term.weight * pairwise_distances(self._distance(term, mixture), estimate, reference)
        return cheapest_assignment(pairwise * present.unsqueeze(1))

    def _distance(self, term: LossTerm, mixture: Tensor) -> Callable[..., Tensor]:
        distance = partial(DISTANCES[term.name], **term.settings)
        if "mixture" in inspect.signature(DISTANCES[term.name]).parameters:
            return partial(distance, mixture=mixture)
        return distance


def mean_present(
    values: Float[Tensor, "batch source"], present: Bool[Tensor, "batch source"]
) -> Float[Tensor, " batch"]:
    """Mean over the sources whose reference is known, 0 where none is."""
    return torch.where(present, values, 0).sum(dim=1) / present.sum(dim=1).clamp(min=1)

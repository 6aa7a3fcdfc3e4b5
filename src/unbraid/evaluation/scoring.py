"""How well a mixture was separated: one score per source, under the best assignment where sources are exchangeable.

Ratios pool the channels of a recording, as the training losses do: one scale and one error for all of them. Silence
scores as `metrics.ratios` says, except that a silent estimate of a source that sounds is a failure and scores -inf.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import torch

from unbraid.axes import Float, Tensor
from unbraid.errors import ConfigError
from unbraid.losses.permutation import best_permutation, reorder
from unbraid.metrics.ratios import si_sdr, snr

_CAP_DB = 200.0
"""Beyond what double precision resolves; lets infinite scores take part in an assignment."""


@dataclass(frozen=True, kw_only=True)
class SourceScore:
    """One source of one mixture, in dB. -inf, inf and nan occur where the reference or the estimate is silent."""

    source: str
    """Name of the reference."""
    estimate: int
    """Which estimate was taken for it, counted from 0 in the model's order."""
    si_sdr_db: float
    mixture_si_sdr_db: float
    """The same ratio with the mixture in place of the estimate: what doing nothing gives."""
    snr_db: float
    """Unlike the SI-SDR, a wrong level counts."""

    @property
    def si_sdr_improvement_db(self) -> float:
        return self.si_sdr_db - self.mixture_si_sdr_db


@dataclass(frozen=True)
class Score:
    """All sources of one mixture, in the order of the references."""

    sources: tuple[SourceScore, ...]

    @property
    def order(self) -> tuple[int, ...]:
        """For each reference the estimate that was taken for it."""
        return tuple(source.estimate for source in self.sources)

    @property
    def si_sdr_db(self) -> float:
        return _mean(source.si_sdr_db for source in self.sources)

    @property
    def mixture_si_sdr_db(self) -> float:
        return _mean(source.mixture_si_sdr_db for source in self.sources)

    @property
    def si_sdr_improvement_db(self) -> float:
        return _mean(source.si_sdr_improvement_db for source in self.sources)

    @property
    def snr_db(self) -> float:
        return _mean(source.snr_db for source in self.sources)


def score_estimates(
    estimates: Float[Tensor, "source channel sample"],
    references: Float[Tensor, "source channel sample"],
    mixture: Float[Tensor, "channel sample"],
    *,
    exchangeable: bool,
    sources: tuple[str, ...] | None = None,
) -> Score:
    """Scores every source; `exchangeable` estimates are first assigned so that the mean SI-SDR is highest.

    `sources` names the references; by default they are called source1, source2 and so on.
    """
    num_sources = references.shape[0]
    names = sources or tuple(f"source{number}" for number in range(1, num_sources + 1))
    if len(names) != num_sources:
        raise ConfigError(f"{num_sources} references and {len(names)} names: give one name for each reference")
    if estimates.shape[-1] == 0:
        raise ConfigError("signals of 0 samples have no score: give at least 1 sample")
    order = torch.arange(num_sources)
    if exchangeable:
        order = best_permutation(_distance, estimates.unsqueeze(0), references.unsqueeze(0))[1][0].cpu()
        estimates = reorder(estimates.unsqueeze(0), order.unsqueeze(0).to(estimates.device))[0]
    after = pooled_si_sdr(estimates, references).tolist()
    before = pooled_si_sdr(mixture.expand_as(references), references).tolist()
    levels = snr(_pool(estimates), _pool(references)).tolist()
    return Score(
        tuple(
            SourceScore(
                source=name,
                estimate=int(order[index]),
                si_sdr_db=after[index],
                mixture_si_sdr_db=before[index],
                snr_db=levels[index],
            )
            for index, name in enumerate(names)
        )
    )


def pooled_si_sdr(
    estimate: Float[Tensor, "*axes channel sample"], reference: Float[Tensor, "*axes channel sample"]
) -> Float[Tensor, "*axes"]:
    """SI-SDR over all channels together, each without its mean."""
    estimate, reference = _pool(_zero_mean(estimate)), _pool(_zero_mean(reference))
    ratio = si_sdr(estimate, reference, zero_mean=False)
    missed = (estimate.square().sum(-1) == 0) & (reference.square().sum(-1) > 0)
    return torch.where(missed, -math.inf, ratio)


def _distance(estimate: Tensor, reference: Tensor) -> Tensor:
    return -pooled_si_sdr(estimate, reference).nan_to_num(nan=0.0, posinf=_CAP_DB, neginf=-_CAP_DB)


def _zero_mean(signal: Tensor) -> Tensor:
    signal = signal.double()
    return signal - signal.mean(-1, keepdim=True)


def _pool(signal: Tensor) -> Tensor:
    return signal.double().flatten(-2)


def _mean(values: Iterable[float]) -> float:
    """The plain mean; nan where nothing can be said of a source."""
    numbers = tuple(values)
    return sum(numbers) / len(numbers)

"""How well a mixture was separated: one score per source, under the best assignment where sources are exchangeable.

Ratios pool the channels of a recording, as the training losses do: one scale and one error for all of them. Silence
scores as `metrics.ratios` says, except that a silent estimate of a source that sounds is a failure and scores -inf.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from unbraid.axes import Float, Tensor
from unbraid.errors import ConfigError
from unbraid.metrics.assignment import best_assignment
from unbraid.metrics.energies import Energies, EnergyMeter

_CAP_DB = 200.0
"""Beyond what double precision resolves; among better scores no assignment is better than another."""


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

    `sources` names the references; by default they are called source1, source2 and so on. Validation during training
    and `unbraid evaluate` both end here.
    """
    names = sources or tuple(f"source{number}" for number in range(1, references.shape[0] + 1))
    if len(names) != references.shape[0]:
        raise ConfigError(f"{references.shape[0]} references and {len(names)} names: give one name for each reference")
    meter = EnergyMeter(max(references.shape[-1], 1), exchangeable=exchangeable)
    meter.push(estimates, references, mixture)
    return score_energies(meter.finish(), names, exchangeable=exchangeable)


def score_energies(energies: Energies, sources: tuple[str, ...], *, exchangeable: bool) -> Score:
    """The same from sums that were gathered block by block."""
    si_sdr, snr = energies.si_sdr(), energies.snr()
    order = find_order(energies, exchangeable=exchangeable)
    return Score(
        tuple(
            SourceScore(
                source=name,
                estimate=order[index],
                si_sdr_db=float(si_sdr[order[index], index]),
                mixture_si_sdr_db=float(si_sdr[-1, index]),
                snr_db=float(snr[order[index], index]),
            )
            for index, name in enumerate(sources)
        )
    )


def find_order(energies: Energies, *, exchangeable: bool) -> tuple[int, ...]:
    """For each reference the estimate that is scored with it."""
    if not exchangeable:
        return tuple(range(energies.reference_sum.shape[0]))
    return tuple(best_assignment(energies.si_sdr()[:-1].clamp(-_CAP_DB, _CAP_DB)).tolist())


def _mean(values: Iterable[float]) -> float:
    """The plain mean; nan where nothing can be said of a source."""
    numbers = tuple(values)
    return sum(numbers) / len(numbers)

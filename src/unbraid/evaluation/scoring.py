"""Scores of arrays that are in memory: sources under the best assignment where they are exchangeable.

Ratios pool the channels of a recording, as the training losses do: one scale and one error for all of them. Silence
scores as `metrics.ratios` says, except that a silent estimate of a source that sounds is a failure and scores -inf.
"""

from __future__ import annotations

from unbraid.axes import Float, Tensor
from unbraid.errors import ConfigError
from unbraid.evaluation.scores import CAP_DB, TargetScore, TrackScore
from unbraid.metrics.assignment import best_assignment
from unbraid.metrics.energies import Energies, EnergyMeter

BEFORE = "SI-SDR before"
"""The SI-SDR with the mixture in place of the estimate: what doing nothing gives."""
MEASURED: tuple[str, ...] = (BEFORE, "SI-SDR", "SI-SDRi", "SNR")
"""What is measured here of every source, in dB; the names but the first are those of `measures`."""


def score_estimates(
    estimates: Float[Tensor, "source channel sample"],
    references: Float[Tensor, "source channel sample"],
    mixture: Float[Tensor, "channel sample"],
    *,
    exchangeable: bool,
    sources: tuple[str, ...] | None = None,
) -> TrackScore:
    """Scores every source; `exchangeable` estimates are first assigned so that the mean SI-SDR is highest.

    `sources` names the references, and the estimates in the order in which they were given; by default they are called
    source1, source2 and so on. Validation during training and `unbraid evaluate` both end here.
    """
    names = sources or tuple(f"source{number}" for number in range(1, references.shape[0] + 1))
    if len(names) != references.shape[0]:
        raise ConfigError(f"{references.shape[0]} references and {len(names)} names", remedy="give one for each")
    meter = EnergyMeter(max(references.shape[-1], 1), exchangeable=exchangeable)
    meter.push(estimates, references, mixture)
    energies = meter.finish()
    order = find_order(energies, exchangeable=exchangeable)
    si_sdr, snr = energies.si_sdr(), energies.snr()
    targets = []
    for index, (name, taken) in enumerate(zip(names, order, strict=True)):
        before, after = float(si_sdr[-1, index]), float(si_sdr[taken, index])
        values = (before, after, after - before, float(snr[taken, index]))
        metrics = dict(zip(MEASURED, values, strict=True))
        targets.append(TargetScore(source=name, estimate=names[taken], metrics=metrics))
    return TrackScore(name="", seconds=0.0, labels={}, targets=tuple(targets))


def find_order(energies: Energies, *, exchangeable: bool) -> tuple[int, ...]:
    """For each reference the estimate that is scored with it."""
    if not exchangeable:
        return tuple(range(energies.reference_sum.shape[0]))
    return tuple(best_assignment(energies.si_sdr()[:-1].clamp(-CAP_DB, CAP_DB)).tolist())

"""What can be measured, by name: one dict to read, each entry a function of one track.

Definitions are those of `unbraid.metrics`; what is said here is which of them the report calls by which name, and how
tracks come together: by the mean, or by the median where the literature takes that.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal, Protocol, runtime_checkable

import numpy as np
import torch

from unbraid.axes import Float, Tensor
from unbraid.errors import UnknownNameError
from unbraid.evaluation.energies import Energies
from unbraid.evaluation.tracks import Track
from unbraid.metrics.bss_eval import sdr, sdr_improvement
from unbraid.metrics.csdr import CsdrProtocol, csdr_frames, median_over_frames
from unbraid.metrics.framewise import FrameScores, framewise_bss_eval

FRAME_SECONDS = 1.0
"""Length of the frames of museval, which do not overlap."""
PASSAGE_SECONDS = 10.0
"""ours: of each track the stretch of this length with the most error is found, for whoever wants to hear it."""
BLOCK_SECONDS = 8.0
"""ours: so much of a track is in memory at a time."""


@runtime_checkable
class Estimated(Protocol):
    """The estimates of one track."""

    def read(self, start: int, num_samples: int) -> np.ndarray:
        """(source, channel, sample) float32, at the track's rate."""
        ...


@dataclass(frozen=True, eq=False, kw_only=True)
class Material:
    """All that a measure may want to know of one track. Estimates come in the order of the sources."""

    track: Track
    sources: tuple[str, ...]
    """What is scored."""
    order: tuple[int, ...]
    """For every source the estimate that was taken for it."""
    energies: Energies
    estimated: Estimated

    def blocks(self) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """Estimates, references and mixture, in blocks of whole frames."""
        rate = self.track.sample_rate
        size = round(BLOCK_SECONDS / FRAME_SECONDS) * round(FRAME_SECONDS * rate)
        for start in range(0, self.track.num_samples, size):
            yield self._read(start, min(size, self.track.num_samples - start))

    @cached_property
    def whole(
        self,
    ) -> tuple[
        Float[Tensor, "source channel sample"], Float[Tensor, "source channel sample"], Float[Tensor, "channel sample"]
    ]:
        """The same in one piece, for measures that need it: memory in proportion to the track."""
        return self._read(0, self.track.num_samples)

    @cached_property
    def bss_eval_v4(self) -> FrameScores:
        """The four ratios of museval, which come together."""
        estimates, references, _ = self.whole
        return framewise_bss_eval(estimates, references, window=round(FRAME_SECONDS * self.track.sample_rate))

    def _read(self, start: int, num_samples: int) -> tuple[Tensor, Tensor, Tensor]:
        estimates = self.estimated.read(start, num_samples)[list(self.order)]
        references = self.track.read_references(self.sources, start, num_samples)
        mixture = self.track.read_mixture(start, num_samples)
        return torch.from_numpy(estimates), torch.from_numpy(references), torch.from_numpy(mixture)


@dataclass(frozen=True, kw_only=True)
class Measured:
    """One measure of one track: a value for every source; nan where nothing can be said."""

    values: Sequence[float]
    frames: Mapping[str, np.ndarray] = field(default_factory=dict)
    """Per name that museval gives it, (source, frame)."""


@dataclass(frozen=True, kw_only=True)
class Measure:
    """One thing to measure."""

    name: str
    meaning: str
    measure: Callable[[Material], Measured]
    over_tracks: Literal["mean", "median"] = "mean"
    """What stands for many tracks, as the literature has it."""
    unit: str = "dB"
    higher_is_better: bool = True


def _snr(material: Material) -> Measured:
    return _taken(material, material.energies.snr())


def _snr_improvement(material: Material) -> Measured:
    return _gained(material, material.energies.snr())


def _si_sdr(material: Material) -> Measured:
    return _taken(material, material.energies.si_sdr())


def _si_sdr_improvement(material: Material) -> Measured:
    return _gained(material, material.energies.si_sdr())


def _usdr(material: Material) -> Measured:
    ratios = material.energies.usdr()
    return Measured(values=[float(ratios[estimate, source]) for source, estimate in enumerate(material.order)])


def _usdr_per_channel(material: Material) -> Measured:
    ratios = material.energies.usdr_per_channel()
    return Measured(values=[float(ratios[estimate, source]) for source, estimate in enumerate(material.order)])


def _sdr(material: Material) -> Measured:
    estimates, references, _ = material.whole
    return Measured(values=_defined(material, sdr(estimates, references).mean(-1).tolist()))


def _sdr_improvement(material: Material) -> Measured:
    return Measured(values=_defined(material, sdr_improvement(*material.whole).mean(-1).tolist()))


def _csdr(protocol: CsdrProtocol) -> Callable[[Material], Measured]:
    def measure(material: Material) -> Measured:
        rate = material.track.sample_rate
        vocals = material.sources.index("vocals") if "vocals" in material.sources else None
        found = []
        for estimates, references, _ in material.blocks():
            # A last part of a second is not a window, except of a track that is shorter than that.
            if references.shape[-1] >= rate or not found:
                found.append(csdr_frames(estimates, references, rate, protocol, vocals))
        frames = torch.cat(found, dim=-1)
        return Measured(values=median_over_frames(frames).tolist(), frames={"SDR": frames.numpy()})

    return measure


def _bss_eval_v4(name: Literal["isr", "sir", "sar"]) -> Callable[[Material], Measured]:
    def measure(material: Material) -> Measured:
        frames = getattr(material.bss_eval_v4, name)
        return Measured(values=median_over_frames(frames).tolist(), frames={name.upper(): frames.numpy()})

    return measure


def _taken(material: Material, ratios: Tensor) -> Measured:
    """The ratio of every source with its estimate. Where the reference is silent nothing can be said."""
    values = [float(ratios[estimate, source]) for source, estimate in enumerate(material.order)]
    return Measured(values=_defined(material, values))


def _gained(material: Material, ratios: Tensor) -> Measured:
    """The same less that of the mixture."""
    values = [float(ratios[estimate, source] - ratios[-1, source]) for source, estimate in enumerate(material.order)]
    return Measured(values=_defined(material, values))


def _defined(material: Material, values: Sequence[float]) -> list[float]:
    silent = material.energies.silent()
    return [math.nan if nothing else value for value, nothing in zip(values, silent, strict=True)]


_PER_SECOND = "median over seconds"

MEASURES = {
    measure.name: measure
    for measure in (
        Measure(name="SNR", meaning="energy of the reference to that of the error; a wrong level counts", measure=_snr),
        Measure(name="SNRi", meaning="SNR less that of the mixture", measure=_snr_improvement),
        Measure(name="SI-SDR", meaning="SNR at the best level of the reference, means taken off", measure=_si_sdr),
        Measure(name="SI-SDRi", meaning="SI-SDR less that of the mixture", measure=_si_sdr_improvement),
        Measure(
            name="SDR", meaning="BSS eval: the reference may be filtered by 512 taps; one track in memory", measure=_sdr
        ),
        Measure(name="SDRi", meaning="SDR of BSS eval less that of the mixture", measure=_sdr_improvement),
        Measure(name="uSDR", meaning="SNR of whole songs as in the SDX challenges, channels pooled", measure=_usdr),
        Measure(
            name="uSDR-ch",
            meaning="uSDR of each channel, then their mean, as in the SFC paper",
            measure=_usdr_per_channel,
        ),
        Measure(
            name="cSDR",
            meaning=f"{_PER_SECOND} in which the source sounds",
            measure=_csdr("single"),
            over_tracks="median",
        ),
        Measure(
            name="cSDR-joint",
            meaning=f"{_PER_SECOND} in which all sources sound: SDR of museval with all stems in one call",
            measure=_csdr("joint"),
            over_tracks="median",
        ),
        Measure(
            name="cSDR-acc",
            meaning="cSDR-joint, and for vocals the seconds in which vocals and the rest sound, as in eval_mus_track",
            measure=_csdr("accompaniment"),
            over_tracks="median",
        ),
        Measure(
            name="ISR",
            meaning="museval: reference to spatial distortion; one track in memory",
            measure=_bss_eval_v4("isr"),
            over_tracks="median",
        ),
        Measure(
            name="SIR",
            meaning="museval: reference to what other references explain",
            measure=_bss_eval_v4("sir"),
            over_tracks="median",
        ),
        Measure(
            name="SAR",
            meaning="museval: what references explain to what they do not",
            measure=_bss_eval_v4("sar"),
            over_tracks="median",
        ),
    )
}
"""Every measure by its name, in the order in which they are listed."""

ALIASES = {"museval": ("cSDR-joint", "ISR", "SIR", "SAR")}
"""Names for several."""

DEFAULTS: dict[str, tuple[str, ...]] = {
    "speakers": ("SI-SDRi", "SI-SDR", "SDRi"),
    "stems": ("uSDR", "cSDR"),
    "cinematic": ("SNR", "SI-SDR"),
}
"""What papers on each kind of separation report. The first is the headline."""


def find_measures(text: str) -> tuple[Measure, ...]:
    """Measures from their names with commas between; capitals, hyphens and underscores do not matter."""
    wanted = [part.strip() for part in text.split(",") if part.strip()]
    known = {_key(name): (name,) for name in MEASURES} | {_key(name): names for name, names in ALIASES.items()}
    for name in wanted or [""]:
        if _key(name) not in known:
            raise UnknownNameError(f"there is no metric '{name}': choose from {', '.join((*MEASURES, *ALIASES))}")
    names = dict.fromkeys(name for one in wanted for name in known[_key(one)])
    return tuple(MEASURES[name] for name in names)


def default_measures(sources: Sequence[str], *, exchangeable: bool) -> tuple[Measure, ...]:
    """Those of the literature on this kind of separation."""
    kind = "speakers" if exchangeable else "cinematic" if {"dialogue", "speech"} & set(sources) else "stems"
    return tuple(MEASURES[name] for name in DEFAULTS[kind])


def _key(name: str) -> str:
    return name.casefold().replace("-", "").replace("_", "").replace(" ", "")

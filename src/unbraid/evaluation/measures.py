"""What can be measured, by name: one dict to read, each entry a function of one track.

Definitions are those of `unbraid.metrics`; what is said here is which of them the report calls by which name, and how
tracks come together: by the mean, or by the median where the literature takes that.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import Literal

import numpy as np
import torch

from unbraid.audio.rate import resample
from unbraid.axes import Float, Tensor
from unbraid.errors import MissingExtraError, UnknownNameError
from unbraid.evaluation.material import Material
from unbraid.metrics.bss_eval import sdr, sdr_improvement
from unbraid.metrics.csdr import CsdrProtocol, csdr_frames, median_over_frames
from unbraid.metrics.loudness import loudness_error
from unbraid.metrics.perceptual import pesq, stoi
from unbraid.metrics.spectral import log_spectral_distance, spectrogram_snr


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
    package: str | None = None
    """What has to be installed for it, by the extra `quality`."""


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


def _dnr_si_sdr(material: Material) -> Measured:
    ratios = material.energies.dnr_si_sdr()
    return Measured(values=[float(ratios[estimate, source]) for source, estimate in enumerate(material.order)])


def _usdr_per_channel(material: Material) -> Measured:
    ratios = material.energies.usdr_per_channel()
    return Measured(values=[float(ratios[estimate, source]) for source, estimate in enumerate(material.order)])


def _sdr(material: Material) -> Measured:
    estimates, references, _ = material.whole
    return _over_channels(material, sdr(estimates, references))


def _sdr_improvement(material: Material) -> Measured:
    return _over_channels(material, sdr_improvement(*material.whole))


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


def _spectrogram_snr(material: Material) -> Measured:
    estimates, references, _ = material.whole
    return _over_channels(material, spectrogram_snr(estimates, references, *_stft_sizes(material)))


def _log_spectral_distance(material: Material) -> Measured:
    estimates, references, _ = material.whole
    return _over_channels(material, log_spectral_distance(estimates, references, *_stft_sizes(material)))


def _stft_sizes(material: Material) -> tuple[int, int]:
    """FFT and hop in samples, of about 40 ms and 10 ms, as `metrics.spectral` advises for music and for speech."""
    return (2048, 512) if material.track.sample_rate > 24_000 else (512, 128)


def _loudness_error(material: Material) -> Measured:
    estimates, references, _ = material.whole
    return Measured(values=loudness_error(estimates, references, material.track.sample_rate).abs().tolist())


def _stoi(extended: bool) -> Callable[[Material], Measured]:
    def measure(material: Material) -> Measured:
        estimates, references, _ = material.whole
        return _over_channels(material, stoi(estimates, references, material.track.sample_rate, extended))

    return measure


def _pesq(material: Material) -> Measured:
    """In the wide band; signals of other rates are brought to 16 kHz."""
    rate = material.track.sample_rate
    estimates, references = (
        torch.from_numpy(np.stack([resample(one.numpy(), rate, _PESQ_RATE) for one in signals]))
        for signals in material.whole[:2]
    )
    return _over_channels(material, pesq(estimates, references, _PESQ_RATE))


def _taken(material: Material, ratios: Tensor) -> Measured:
    """The ratio of every source with its estimate. Where the reference is silent nothing can be said."""
    values = [float(ratios[estimate, source]) for source, estimate in enumerate(material.order)]
    return Measured(values=_defined(material, values))


def _gained(material: Material, ratios: Tensor) -> Measured:
    """The same less that of the mixture."""
    values = [float(ratios[estimate, source] - ratios[-1, source]) for source, estimate in enumerate(material.order)]
    return Measured(values=_defined(material, values))


def _over_channels(material: Material, values: Float[Tensor, "source channel"]) -> Measured:
    """The mean over the channels in which the reference sounds."""
    silent = material.energies.reference_power.sum(-1) == 0
    return Measured(values=values.double().masked_fill(silent, math.nan).nanmean(-1).tolist())


def _defined(material: Material, values: Sequence[float]) -> list[float]:
    silent = material.energies.silent()
    return [math.nan if nothing else value for value, nothing in zip(values, silent, strict=True)]


_PESQ_RATE = 16_000
_PER_SECOND = "median over seconds"

MEASURES = {
    measure.name: measure
    for measure in (
        Measure(name="SNR", meaning="energy of the reference to that of the error; a wrong level counts", measure=_snr),
        Measure(name="SNRi", meaning="SNR less that of the mixture", measure=_snr_improvement),
        Measure(name="SI-SDR", meaning="SNR at the best level of the reference, means taken off", measure=_si_sdr),
        Measure(name="SI-SDRi", meaning="SI-SDR less that of the mixture", measure=_si_sdr_improvement),
        Measure(name="SDR", meaning="BSS eval: the reference may be filtered by 512 taps", measure=_sdr),
        Measure(name="SDRi", meaning="SDR of BSS eval less that of the mixture", measure=_sdr_improvement),
        Measure(name="uSDR", meaning="SNR of whole songs as in the SDX challenges, channels pooled", measure=_usdr),
        Measure(
            name="uSDR-ch",
            meaning="uSDR of each channel, then their mean, as in the SFC paper",
            measure=_usdr_per_channel,
        ),
        Measure(
            name="SI-SDR-dnr",
            meaning="SI-SDR with means kept, within 80 dB, and silence at -80 dB, as SFC's authors score DnR",
            measure=_dnr_si_sdr,
            over_tracks="median",
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
            meaning="museval: reference to spatial distortion",
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
        Measure(name="SpecSNR", meaning="SNR of magnitude spectrograms, phase left out", measure=_spectrogram_snr),
        Measure(
            name="LSD",
            meaning="log-spectral distance in powers of ten; less is better",
            measure=_log_spectral_distance,
            unit="",
            higher_is_better=False,
        ),
        Measure(
            name="loudness",
            meaning="how far the loudness is off, whichever way (BS.1770); less is better",
            measure=_loudness_error,
            unit="LU",
            higher_is_better=False,
        ),
        Measure(
            name="STOI", meaning="intelligibility of speech, up to 1", measure=_stoi(False), unit="", package="pystoi"
        ),
        Measure(name="ESTOI", meaning="extended STOI", measure=_stoi(True), unit="", package="pystoi"),
        Measure(name="PESQ", meaning="quality of speech, wide band, up to 4.6", measure=_pesq, unit="", package="pesq"),
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
            raise UnknownNameError(
                f"there is no metric '{name}'", remedy=f"choose from {', '.join((*MEASURES, *ALIASES))}"
            )
    names = dict.fromkeys(name for one in wanted for name in known[_key(one)])
    return tuple(MEASURES[name] for name in names)


def check_packages(measures: Sequence[Measure]) -> None:
    """Raises MissingExtraError before the work, not after the first track."""
    for measure in measures:
        if measure.package and find_spec(measure.package) is None:
            raise MissingExtraError(measure.package, "quality", measure.name)


def default_measures(sources: Sequence[str], *, exchangeable: bool) -> tuple[Measure, ...]:
    """Those of the literature on this kind of separation."""
    kind = "speakers" if exchangeable else "cinematic" if {"dialogue", "speech"} & set(sources) else "stems"
    return tuple(MEASURES[name] for name in DEFAULTS[kind])


def _key(name: str) -> str:
    return name.casefold().replace("-", "").replace("_", "").replace(" ", "")

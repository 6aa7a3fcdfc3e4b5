"""SDR, ISR, SIR and SAR of BSS eval v4, window by window, in dB: the numbers of museval 0.4.1 and of SiSEC 2018.

Windows of one second by default (give `window` and `hop` in samples for other rates than 44.1 kHz); a last part of a
second is left out, and a recording shorter than a window is one window. Estimates of another length than the reference
are cut, or zeros are put at their end, as museval does.

A window is nan where a reference or an estimate is silent: where the sum of its channels is zero at every sample, so
that channels in exact antiphase are silent too. With `joint` (museval's rule) one silent source makes the window nan
for all sources of the call. A source that is silent throughout makes museval raise; here all its windows are nan.

The signals may be on disk (memory-mapped): windows are taken a few at a time, and memory does not grow with the length.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch

from unbraid.axes import Bool, Float, Tensor
from unbraid.errors import ConfigError, SignalError
from unbraid.metrics.pairs import check_pair, ratio_db
from unbraid.metrics.projection import correlate, cross_vector, factorise, gram_matrix
from unbraid.signal.lengths import fast_fft_length, fit_length

WINDOW_SAMPLES = 44_100
TAPS = 512
_GROUP = 2**19
"""Samples in float64 that are looked at together: few enough to stay in a processor's cache."""


class FrameScores(NamedTuple):
    """One value per source and window, in dB."""

    sdr: Float[Tensor, "source frame"]
    """Reference over all that is wrong, its level and its place included."""
    isr: Float[Tensor, "source frame"]
    """Reference over spatial distortion: what filtering it by 512 taps, channel into channel, explains."""
    sir: Float[Tensor, "source frame"]
    """Filtered reference over interference: what the other references explain besides."""
    sar: Float[Tensor, "source frame"]
    """What the references explain together over what they do not."""


def framewise_sdr(
    estimate: Float[Tensor, "source channel given"],
    reference: Float[Tensor, "source channel sample"],
    window: int = WINDOW_SAMPLES,
    hop: int | None = None,
    joint: bool = True,
) -> Float[Tensor, "source frame"]:
    """The SDR of `framewise_bss_eval` without its filters, hundreds of times as fast.

    The three errors of BSS eval, spatial, interference and artefacts, add up to estimate minus reference whatever the
    filters are, so the SDR is the plain ratio of energies with the channels pooled. inf where nothing is wrong.
    """
    hop = window if hop is None else hop
    estimate = _fitted(estimate, reference, window, hop)
    power, error, sounding = [], [], []
    for target, found in _windows(estimate, reference, window, hop):
        difference = found - target
        power.append(torch.linalg.vecdot(target, target).sum(1))
        error.append(torch.linalg.vecdot(difference, difference).sum(1))
        sounding.append(_sounds(target) & _sounds(found))
    scores = _safe_ratio_db(torch.cat(power, -1), torch.cat(error, -1))
    return scores.masked_fill(~_share(torch.cat(sounding, -1), joint), torch.nan)


def framewise_bss_eval(
    estimate: Float[Tensor, "source channel given"],
    reference: Float[Tensor, "source channel sample"],
    window: int = WINDOW_SAMPLES,
    hop: int | None = None,
    taps: int = TAPS,
    loading: float = 0.0,
) -> FrameScores:
    """All four ratios of BSS eval v4, with one set of filters for the whole recording; nan is shared by all sources.

    ISR, SIR and SAR stand on filters that are as good as the references are broad: where they hold a band with next to
    no energy (stems decoded from MP3, Ogg or AAC without rounding to 16 bits), the filters there are arbitrary and so
    are museval's numbers. `loading` (such as 1e-8, ours) raises the diagonal by that share of itself, as noise 80 dB
    below the signal would, and makes them meaningful; 0 gives what museval gives. The SDR is not concerned.

    One factorisation takes (sources x channels x taps)^2 numbers of 8 bytes twice over, 270 MB for 4 stereo stems.
    """
    hop = window if hop is None else hop
    estimate = _fitted(estimate, reference, window, hop)
    sdr = framewise_sdr(estimate, reference, window, hop, joint=True)
    ratios = torch.full((3, *sdr.shape), torch.nan, dtype=torch.float64, device=reference.device)
    defined = (~sdr.isnan()).any(0).nonzero().flatten().tolist()
    if defined:
        filters = _Filters(estimate, reference, taps, min(window, reference.shape[-1]), loading)
        for frame in defined:
            part = slice(frame * hop, frame * hop + window)
            ratios[..., frame] = filters.ratios_db(estimate[..., part].double(), reference[..., part].double())
    return FrameScores(sdr, *ratios)


class _Filters:
    """The distortion filters of a whole recording, ready to be applied to its windows by FFT.

    Museval filters a window as if it stood between silences, tail included; with FFTs longer than window and filter
    together that is a product of spectra, and by Parseval's theorem the energies need no inverse transform.
    """

    def __init__(self, estimate: Tensor, reference: Tensor, taps: int, window: int, loading: float) -> None:
        num_sources, num_channels = reference.shape[:2]
        signals = reference.flatten(0, 1)
        rows = len(signals)
        correlations = correlate(signals, (signals, estimate.flatten(0, 1)), taps)
        among, across = correlations[:, :rows], correlations[:, rows:]
        self.n_fft = fast_fft_length(window + taps - 1)
        self.own = []
        for source in range(num_sources):
            mine = slice(source * num_channels, (source + 1) * num_channels)
            self.own.append(self._solve(among[mine, mine], across[mine, mine], loading))
        self.all = self._solve(among, across, loading) if num_sources > 1 else self.own[0]

    def _solve(self, among: Tensor, across: Tensor, loading: float) -> Tensor:
        """The filters' spectra: (freq, signal, estimate)."""
        factor = factorise(gram_matrix(among), loading)
        filters = torch.cholesky_solve(cross_vector(across), factor).unflatten(0, (len(among), -1))
        return torch.fft.rfft(filters, self.n_fft, dim=1).transpose(0, 1).contiguous()

    def ratios_db(self, estimate: Tensor, reference: Tensor) -> Tensor:
        """ISR, SIR and SAR of one window: (3, source)."""
        found, true = torch.fft.rfft(estimate, self.n_fft), torch.fft.rfft(reference, self.n_fft)
        own = torch.stack([_apply(filters, one) for filters, one in zip(self.own, true, strict=True)])
        joint = _apply(self.all, true.flatten(0, 1)).unflatten(0, true.shape[:2])
        return torch.stack(
            [
                _safe_ratio_db(self._energy(true), self._energy(own - true)),
                _safe_ratio_db(self._energy(own), self._energy(joint - own)),
                _safe_ratio_db(self._energy(joint), self._energy(found - joint)),
            ]
        )

    def _energy(self, spectrum: Tensor) -> Tensor:
        """(source, channel, freq) -> (source): a one-sided spectrum holds all but its two ends twice."""
        ends = spectrum[..., :: self.n_fft // 2].abs().square().sum(-1)
        return ((2 * torch.linalg.vecdot(spectrum, spectrum).real - ends) / self.n_fft).sum(-1)


def _apply(filters: Tensor, spectrum: Tensor) -> Tensor:
    """Spectra (signal, freq) through filters (freq, signal, estimate) to (estimate, freq)."""
    return torch.matmul(spectrum.T.unsqueeze(1), filters).squeeze(1).T


def _windows(estimate: Tensor, reference: Tensor, window: int, hop: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Groups of windows in float64, (source, channel, frame, sample): first of the reference, then of the estimate."""
    num_samples = reference.shape[-1]
    window = min(window, num_samples)
    num_frames = (num_samples - window) // hop + 1
    together = max(1, _GROUP // max(1, reference.shape[0] * reference.shape[1] * window))
    for first in range(0, num_frames, together):
        last = min(first + together, num_frames) - 1
        part = slice(first * hop, last * hop + window)
        target, found = reference[..., part].double(), estimate[..., part].double()
        yield target.unfold(-1, window, hop), found.unfold(-1, window, hop)


def _sounds(frames: Tensor) -> Bool[Tensor, "source frame"]:
    return frames.sum(1).ne(0).any(-1)


def _share(sounding: Tensor, joint: bool) -> Tensor:
    return sounding.all(0, keepdim=True).expand_as(sounding) if joint else sounding


def _safe_ratio_db(numerator: Tensor, denominator: Tensor) -> Tensor:
    """As museval: inf wherever nothing is wrong, even where there is nothing."""
    return torch.where(denominator == 0, torch.inf, ratio_db(numerator, denominator))


def _fitted(estimate: Tensor, reference: Tensor, window: int, hop: int) -> Tensor:
    if window < 1 or hop < 1:
        raise ConfigError(
            f"windows of {window} samples every {hop} samples are none", remedy="give at least 1 for both"
        )
    estimate = fit_length(estimate, reference.shape[-1])
    check_pair(estimate, reference)
    if reference.shape[0] == 0 or reference.shape[1] == 0:
        raise SignalError("there is no source or no channel to be scored", remedy="give at least one of each")
    return estimate

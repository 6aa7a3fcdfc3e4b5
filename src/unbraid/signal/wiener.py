"""A Wiener mask made of a model's own estimates: each source gets of the mixture what its estimate has of the power.

    estimates, mixture -> STFT -> per bin and channel |estimate|^2 / sum of |estimate|^2 -> x mixture -> inverse

What comes out adds up to the mixture in every bin from `from_hz` on. An estimate with a blurred or missing spectrum
gets the mixture's own; below `from_hz` the estimates stay as they are.
"""

from __future__ import annotations

import torch

from unbraid.axes import Complex, Float, Tensor
from unbraid.signal.frames import add_frames
from unbraid.signal.stft import SMALLEST_ENVELOPE, num_frames, pad_ends
from unbraid.signal.windows import hann

_WINDOW_SECONDS = 0.032
"""ours: about what speech and music stay the same for."""
_FLOOR = 1e-4
"""ours: part of the mixture's power that every source is believed to have in a bin. Where no estimate has anything, the
mixture is shared out evenly."""
_CROSSOVER_OCTAVES = 0.25
"""ours: over which the mask sets in above `from_hz`."""
_CACHED_SAMPLES = 1 << 18
"""Of all rows together: a megabyte, of some two that a core has for itself."""
_LEAST_FRAMES = 8


def wiener_refine(
    estimates: Float[Tensor, "batch source channel sample"],
    mixture: Float[Tensor, "batch channel sample"],
    sample_rate: int,
    from_hz: float = 0.0,
) -> Float[Tensor, "batch source channel sample"]:
    """The mixture shared out by the powers of the estimates; `from_hz` 0 does so at all frequencies.

    Above 0, what comes back from the spectra is only the change above `from_hz`. A few frames at a time are transformed
    and added up: their spectra stay in the cache of the processor.
    """
    num_samples = mixture.shape[-1]
    n_fft = max(16, 16 * round(_WINDOW_SECONDS * sample_rate / 16))
    hop, window = n_fft // 4, hann(n_fft).to(mixture)
    onset = _onset(n_fft, sample_rate, from_hz).to(mixture) if from_hz > 0 else None
    rows = torch.cat([estimates, mixture.unsqueeze(1)], dim=1)
    frames = num_frames(num_samples, hop, n_fft)
    padded = pad_ends(rows.flatten(0, 2), n_fft // 2, (frames - 1) * hop + n_fft // 2 - num_samples, "reflect")
    cut = padded.unfold(-1, n_fft, hop).unflatten(0, rows.shape[:3])
    at_once = max(_LEAST_FRAMES, _CACHED_SAMPLES // (n_fft * padded.shape[0]))
    shared = rows.new_zeros(estimates[..., 0].numel(), (frames + 3) * hop)
    for start in range(0, frames, at_once):
        spectra = torch.fft.rfft(cut[..., start : start + at_once, :] * window)
        pieces = torch.fft.irfft(_share_out(spectra, onset), n_fft).flatten(0, 2)
        added = add_frames(pieces.mul_(window), hop)
        shared[:, start * hop : start * hop + added.shape[-1]] += added
    shared /= add_frames(window.square().expand(1, frames, n_fft), hop).clamp(min=SMALLEST_ENVELOPE)
    refined = shared[:, n_fft // 2 : n_fft // 2 + num_samples].reshape(estimates.shape)
    return refined if onset is None else estimates + refined


def _share_out(
    spectra: Complex[Tensor, "batch source_and_mixture channel frame freq"], onset: Float[Tensor, " freq"] | None
) -> Complex[Tensor, "batch source channel frame freq"]:
    """Each source's part of the mixture; with an onset, what that part has more than the estimate, times the onset."""
    first = 0 if onset is None else int((onset > 0).nonzero()[0]) if onset[-1] > 0 else len(onset)
    above = spectra[..., first:]
    power = above.real.square().addcmul_(above.imag, above.imag)
    (estimate, whole), (share, floor) = (part.tensor_split((-1,), dim=1) for part in (above, power))
    share += _FLOOR * floor + torch.finfo(floor.dtype).tiny
    share /= share.sum(dim=1, keepdim=True)
    if onset is None:
        return share * whole
    change = spectra.new_zeros(*estimate.shape[:-1], spectra.shape[-1])
    torch.sub(share * whole, estimate, out=change[..., first:])
    risen = first + int((onset[first:] < 1).sum())
    change[..., first:risen] *= onset[first:risen]
    return change


def _onset(n_fft: int, sample_rate: int, from_hz: float) -> Float[Tensor, " freq"]:
    """How much of the mask is applied at each frequency: from 0 below `from_hz` to 1 a quarter of an octave above."""
    frequency_hz = torch.fft.rfftfreq(n_fft, 1 / sample_rate)
    octaves = (frequency_hz.clamp_min(1e-3) / from_hz).log2()
    return (octaves / _CROSSOVER_OCTAVES).clamp(0, 1)

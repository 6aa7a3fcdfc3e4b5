"""The short-time Fourier transform and its exact inverse, real and imaginary parts on an axis of their own.

Frames are centred: frame t looks at the samples around t * hop, and both ends are padded by n_fft / 2, so that
`istft(stft(x), length)` gives x back for every length from one sample up.
"""

from typing import Literal

import torch
from einops import rearrange
from torch import nn
from torch.nn import functional

from unbraid.axes import Float, Tensor
from unbraid.errors import ConfigError
from unbraid.options import check_option
from unbraid.signal.frames import add_frames
from unbraid.signal.windows import WindowName, build_window

Padding = Literal["reflect", "constant"]

# The inverse divides by the summed squared windows. Over a whole transform of ours that sum stays above 0.2, but a
# model that drops the last frame leaves its tail on the rim of one window; below this it fades out and stays finite.
SMALLEST_ENVELOPE = 1e-8


def num_frames(num_samples: int, hop: int, window_samples: int) -> int:
    """How many frames `stft` makes: as many as torch.stft, and one more where the tail would otherwise be lost.

    With hops over a quarter of the window, the last `num_samples % hop` samples may lie on the rim of the last window,
    too weak there to be recovered in float32.
    """
    if 4 * hop > window_samples:
        return 1 + -(-num_samples // hop)
    return 1 + num_samples // hop


def stft(
    signal: Float[Tensor, "*batch sample"],
    n_fft: int,
    hop: int,
    window: Float[Tensor, " window"],
    padding: Padding = "reflect",
) -> Float[Tensor, "*batch part freq frame"]:
    """Unnormalised one-sided spectra of centred frames; n_fft / 2 + 1 frequencies from 0 Hz up.

    `window` may be shorter than n_fft and is then centred in it, as in torch.stft. Signals in half precision are
    transformed in float32, because FFTs have no half-precision kernels on a CPU.
    """
    _check(n_fft, hop, window.shape[-1])
    batch_shape, num_samples = signal.shape[:-1], signal.shape[-1]
    if num_samples < 1:
        raise ConfigError("A signal of 0 samples has no spectrum: give at least 1 sample.")
    flat = signal.reshape(-1, num_samples)
    flat = flat.float() if flat.dtype in (torch.float16, torch.bfloat16) else flat
    frames = num_frames(num_samples, hop, window.shape[-1])
    right = (frames - 1) * hop + n_fft // 2 - num_samples
    padded = pad_ends(flat, n_fft // 2, right, padding)
    spectrum = torch.stft(
        padded, n_fft, hop, window.shape[-1], window.to(flat), center=False, onesided=True, return_complex=True
    )
    parts = rearrange(torch.view_as_real(spectrum), "batch freq frame part -> batch part freq frame")
    return parts.reshape(*batch_shape, *parts.shape[1:])


def istft(
    spectrum: Float[Tensor, "*batch part freq frame"],
    n_fft: int,
    hop: int,
    window: Float[Tensor, " window"],
    length: int,
) -> Float[Tensor, "*batch sample"]:
    """The signal of `length` samples whose frames come closest to the spectrum, in the least-squares sense.

    Fewer or more frames than `stft` makes of that length are allowed; samples that no frame reaches are zero.
    """
    _check(n_fft, hop, window.shape[-1])
    *batch_shape, parts, freqs, frames = spectrum.shape
    if parts != 2 or freqs != n_fft // 2 + 1:
        raise ConfigError(
            f"A spectrum for n_fft {n_fft} needs 2 parts and {n_fft // 2 + 1} frequencies, not {parts} and {freqs}."
        )
    exact = spectrum.float() if spectrum.dtype in (torch.float16, torch.bfloat16) else spectrum
    placed = rearrange(exact, "... part freq frame -> ... frame freq part")
    bins = torch.view_as_complex(placed) if placed.is_contiguous() else torch.complex(*placed.unbind(-1))
    bins = bins.reshape(-1, frames, freqs)
    missing = n_fft - window.shape[-1]
    taper = functional.pad(window.to(exact), (missing // 2, missing - missing // 2))
    summed = add_frames(torch.fft.irfft(bins, n_fft) * taper, hop)
    envelope = add_frames(taper.square().expand(1, frames, n_fft), hop)
    signal = (summed / envelope.clamp(min=SMALLEST_ENVELOPE))[:, n_fft // 2 : n_fft // 2 + length]
    signal = functional.pad(signal, (0, length - signal.shape[-1]))
    return signal.reshape(*batch_shape, length)


class Stft(nn.Module):
    """`stft` and `istft` with their sizes and window kept, the window on the module's device.

    forward: signal "*batch sample" -> spectrum "*batch part freq frame"; inverse: back, to a given length.
    """

    window: Tensor

    def __init__(
        self,
        n_fft: int,
        hop: int,
        window: WindowName = "hann",
        window_samples: int | None = None,
        padding: Padding = "reflect",
    ) -> None:
        super().__init__()
        check_option("padding", padding, Padding)
        self.n_fft = n_fft
        self.hop = hop
        self.padding: Padding = padding
        _check(n_fft, hop, window_samples or n_fft)
        self.register_buffer("window", build_window(window, window_samples or n_fft), persistent=False)

    @property
    def num_freqs(self) -> int:
        return self.n_fft // 2 + 1

    def num_frames(self, num_samples: int) -> int:
        """How many frames a signal of that length gives."""
        return num_frames(num_samples, self.hop, self.window.shape[-1])

    def forward(self, signal: Float[Tensor, "*batch sample"]) -> Float[Tensor, "*batch part freq frame"]:
        return stft(signal, self.n_fft, self.hop, self.window, self.padding)

    def inverse(self, spectrum: Float[Tensor, "*batch part freq frame"], length: int) -> Float[Tensor, "*batch sample"]:
        return istft(spectrum, self.n_fft, self.hop, self.window, length)

    def extra_repr(self) -> str:
        return f"n_fft={self.n_fft}, hop={self.hop}, padding={self.padding!r}"


def in_planes(spectrum: Float[Tensor, "batch channel 2 freq frame"]) -> Float[Tensor, "batch channel 2 freq frame"]:
    """The same spectrum, in memory (batch, part, channel, frame, freq): operations on a part, and on bins side by side,
    then run along memory. `stft` leaves real and imaginary parts side by side."""
    return torch.stack(spectrum.transpose(-1, -2).unbind(2), dim=1).permute(0, 2, 1, 4, 3)


def power_spectrum(spectrum: Float[Tensor, "*batch 2 freq frame"]) -> Float[Tensor, "*batch freq frame"]:
    """That of each bin; on a CPU a sum over the parts, which lie side by side, takes nine times as long."""
    real, imaginary = spectrum.unbind(dim=-3)
    return torch.addcmul(real * real, imaginary, imaginary)


def complex_product(
    first: Float[Tensor, "*first_axes 2 freq frame"], second: Float[Tensor, "*second_axes 2 freq frame"]
) -> Float[Tensor, "*axes 2 freq frame"]:
    """The product of two complex planes in parts."""
    (a, b), (c, d) = first.unbind(dim=-3), second.unbind(dim=-3)
    return torch.stack([a * c - b * d, a * d + b * c], dim=-3)


def _check(n_fft: int, hop: int, window_samples: int) -> None:
    if n_fft < 2 or n_fft % 2:
        raise ConfigError(f"n_fft must be even and at least 2, not {n_fft}.")
    if not 1 <= window_samples <= n_fft:
        raise ConfigError(f"The window must have 1 to n_fft = {n_fft} samples, not {window_samples}.")
    if not 1 <= hop <= max(window_samples // 2, 1):
        raise ConfigError(f"The hop must be 1 to half the window ({window_samples // 2} samples), not {hop}.")


def pad_ends(signal: Float[Tensor, "batch sample"], left: int, right: int, padding: Padding) -> Tensor:
    """Room for frames at both ends: reflected as far as the signal goes (one sample less than it has), zeros beyond."""
    if padding == "reflect":
        reach = signal.shape[-1] - 1
        mirrored = min(left, reach), min(max(right, 0), reach)
        signal = functional.pad(signal, mirrored, mode="reflect")
        left, right = left - mirrored[0], right - mirrored[1]
    elif padding != "constant":
        check_option("padding", padding, Padding)
    return functional.pad(signal, (left, right))

"""The short-time Fourier transform without complex numbers, for programs that have none."""

from __future__ import annotations

import torch
from torch.nn import functional as F

from unbraid.axes import Float, Tensor
from unbraid.signal.frames import add_frames
from unbraid.signal.stft import SMALLEST_ENVELOPE, Stft


class RealStft(Stft):
    """An STFT and its inverse as products with cosines and sines: the same numbers to rounding.

    Costs n_fft / log2(n_fft) times as much. Mirrored ends want a signal that is longer than they are.
    """

    taper: Tensor
    analysis: Tensor
    synthesis: Tensor

    def __init__(self, stft: Stft) -> None:
        super().__init__(stft.n_fft, stft.hop, window_samples=stft.window.shape[-1], padding=stft.padding)
        missing = stft.n_fft - stft.window.shape[-1]
        taper = F.pad(stft.window.double(), (missing // 2, missing - missing // 2))
        unit = torch.eye(stft.n_fft, dtype=torch.float64)
        spectra = torch.view_as_real(torch.fft.rfft(unit)).permute(2, 1, 0).flatten(0, 1)
        parts = torch.eye(spectra.shape[0], dtype=torch.float64).unflatten(1, (2, -1))
        back = torch.fft.irfft(torch.complex(parts[:, 0], parts[:, 1]), stft.n_fft)
        self.register_buffer("window", stft.window, persistent=False)
        self.register_buffer("taper", taper.to(stft.window), persistent=False)
        self.register_buffer("analysis", (spectra * taper).to(stft.window).unsqueeze(1), persistent=False)
        self.register_buffer("synthesis", (back * taper).to(stft.window), persistent=False)

    def forward(self, signal: Float[Tensor, "*batch sample"]) -> Float[Tensor, "*batch part freq frame"]:
        rows, num_samples = signal.flatten(0, -2).unsqueeze(1), signal.shape[-1]
        right = (self.num_frames(num_samples) - 1) * self.hop + self.n_fft // 2 - num_samples
        spectra = F.conv1d(F.pad(rows, (self.n_fft // 2, right), self.padding), self.analysis, stride=self.hop)
        return spectra.unflatten(1, (2, -1)).unflatten(0, signal.shape[:-1])

    def inverse(self, spectrum: Float[Tensor, "*batch part freq frame"], length: int) -> Float[Tensor, "*batch sample"]:
        frames = spectrum.flatten(-3, -2).transpose(-1, -2) @ self.synthesis
        envelope = add_frames(self.taper.square().expand(1, frames.shape[-2], self.n_fft), self.hop)
        signal = add_frames(frames.flatten(0, -3), self.hop) / envelope.clamp(min=SMALLEST_ENVELOPE)
        half = self.n_fft // 2
        signal = F.pad(signal[:, half : half + length], (0, max(0, half + length - signal.shape[-1])))
        return signal.unflatten(0, frames.shape[:-2])

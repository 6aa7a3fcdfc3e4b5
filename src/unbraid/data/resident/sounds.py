"""Recordings decoded once to 16 bits and kept on the device, from which stretches are cut for a whole batch at once.

Nothing here asks the device for a number, so that drawing a batch costs the host a few hundred launches and no wait.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch

from unbraid.axes import Float, Int, Tensor
from unbraid.data.mixing.pools import SourceRecording
from unbraid.errors import DataError

_FULL_SCALE = 32767.0
_TAPS = 8
"""ours: of the interpolating filter on either side, a sinc under a Hann window."""

_READERS = 8


class ResidentSounds:
    """All recordings of a data set in one tensor of int16; a recording is known by its number."""

    def __init__(
        self, recordings: Sequence[SourceRecording], sample_rate: int, num_channels: int, device: torch.device
    ) -> None:
        if not recordings:
            raise DataError("there is nothing to draw from")
        lengths = [recording.num_samples(sample_rate) for recording in recordings]
        begins = np.concatenate([[0], np.cumsum(lengths)])
        samples = np.empty((num_channels, int(begins[-1])), np.int16)

        def decode(number: int) -> float:
            found = recordings[number].read(0, lengths[number], sample_rate, num_channels)
            scale = max(1.0, float(np.abs(found).max(initial=0)))
            samples[:, begins[number] : begins[number + 1]] = np.rint(found * (_FULL_SCALE / scale))
            return scale / _FULL_SCALE

        with ThreadPoolExecutor(_READERS) as pool:
            gains = list(pool.map(decode, range(len(recordings))))
        self.samples = torch.from_numpy(samples).to(device)
        self.begin = torch.from_numpy(begins[:-1].copy()).to(device)
        self.length = torch.tensor(lengths, device=device)
        self.gain = torch.tensor(gains, dtype=torch.float32, device=device)

    def cut(
        self,
        number: Int[Tensor, " batch"],
        start: Float[Tensor, " batch"],
        num_samples: int,
        speed: Float[Tensor, " batch"] | None = None,
    ) -> Float[Tensor, "batch channel sample"]:
        """Of each recording the stretch from `start`, in samples of it; zeros before its first and after its last.

        With a speed, played faster by that factor, which is a fraction of a sample where it is read between two.
        """
        time = torch.arange(num_samples, device=self.samples.device)
        if speed is None:
            return self._at(number, start.floor().long()[:, None] + time)
        # In float64: a minute at 16 kHz leaves four bits to the fraction of a float32.
        place = start.double()[:, None] + time * speed.double()[:, None]
        base = place.floor()
        fraction, base = (place - base).float(), base.long()
        # Played faster, what would come to lie above half the rate is left out.
        width = speed.clamp(min=1)[:, None]
        total = torch.zeros((), device=place.device)
        for tap in range(1 - _TAPS, _TAPS + 1):
            away = (fraction - tap) / width
            taper = torch.cos(away * (torch.pi / 2 / _TAPS)).square() * (away.abs() < _TAPS)
            total = total + self._at(number, base + tap) * (torch.sinc(away) * taper / width)[:, None]
        return total

    def _at(self, number: Int[Tensor, " batch"], place: Int[Tensor, "batch sample"]) -> Tensor:
        length = self.length[number][:, None]
        inside = (place >= 0) & (place < length)
        found = self.samples[:, self.begin[number][:, None] + torch.minimum(place.clamp(min=0), length - 1)]
        return torch.where(inside, found, 0).transpose(0, 1) * self.gain[number][:, None, None]


class Choice:
    """Draws numbers of recordings, each as likely as its weight."""

    def __init__(self, weights: Sequence[float], device: torch.device, first: int = 0) -> None:
        bounds = np.cumsum(np.asarray(weights, np.float64))
        self._bounds = torch.from_numpy(bounds / bounds[-1]).to(device)
        self._first, self._last = first, len(bounds) - 1

    def draw(self, uniform: Float[Tensor, " batch"]) -> Int[Tensor, " batch"]:
        """From numbers that are uniform from 0 to 1."""
        found = torch.searchsorted(self._bounds, uniform.double(), right=True)
        return found.clamp(max=self._last) + self._first


def seeded(device: torch.device, *numbers: int) -> torch.Generator:
    """A source of randomness that is a function of these numbers."""
    state = np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0]
    return torch.Generator(device=device).manual_seed(int(state >> np.uint64(1)))

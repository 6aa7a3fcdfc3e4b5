"""Microphones and loudspeakers for `unbraid stream`, by the package sounddevice, which is an extra."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from importlib import import_module
from queue import Full, Queue
from typing import Any

import numpy as np

from unbraid.audio.pcm_stream import PcmFormat
from unbraid.cli.stream_ends import Input, Output, wait_for
from unbraid.cli.stream_report import StreamReport
from unbraid.errors import DeviceError, MissingExtraError

_WAITING_BLOCKS = 50
"""As many blocks may wait before some are lost: a second, with blocks of 20 ms."""
_MOST_AHEAD_SECONDS = 1.0
"""Where two devices have clocks of their own, what is to be played may pile up to this and is then skipped."""
_DRAIN_SECONDS = 5.0


def import_sounddevice() -> Any:
    """The package, or one sentence on how to get it."""
    try:
        return import_module("sounddevice")
    except ImportError as error:
        raise MissingExtraError("sounddevice", "live", "a sound device") from error
    except OSError as error:
        raise DeviceError(
            f"sound devices need PortAudio, which is not there ({error})",
            remedy="install it, on Debian and Ubuntu as libportaudio2",
        ) from error


def open_stream(kind: str, device: str, form: PcmFormat, block_samples: int, callback: Callable[..., None]) -> Any:
    """A started InputStream or OutputStream of sounddevice."""
    sounddevice = import_sounddevice()
    chosen = None if device == "default" else int(device) if device.isdigit() else device
    try:
        stream = getattr(sounddevice, kind)(
            samplerate=form.sample_rate,
            blocksize=block_samples,
            device=chosen,
            channels=form.num_channels,
            dtype="float32",
            latency="low",
            callback=callback,
        )
        stream.start()
    except (sounddevice.PortAudioError, ValueError) as error:
        raise DeviceError(
            f"cannot be opened with {form.num_channels} channels at {form.sample_rate} Hz ({error})",
            subject=f"the sound device '{device}'",
            remedy="python -m sounddevice  lists devices; try another `sample_rate`, such as 48000",
        ) from error
    return stream


class DeviceInput(Input):
    """What a microphone hears."""

    def __init__(
        self,
        device: str,
        form: PcmFormat,
        block_seconds: float,
        stall_seconds: float,
        on_stall: Callable[[], None],
        report: StreamReport,
    ) -> None:
        self.form = form
        self._stall_seconds, self._on_stall, self._report = stall_seconds, on_stall, report
        self._queue: Queue[np.ndarray] = Queue(_WAITING_BLOCKS)
        block_samples = max(1, round(block_seconds * form.sample_rate))
        self._stream = open_stream("InputStream", device, form, block_samples, self._take)

    def blocks(self) -> Iterator[np.ndarray]:
        while True:
            yield wait_for(self._queue, self._stall_seconds, self._on_stall)

    def close(self) -> None:
        self._stream.stop()
        self._stream.close()

    def _take(self, samples: np.ndarray, num_samples: int, time: Any, status: Any) -> None:
        """Called by PortAudio's thread, whose buffer is its own."""
        self._report.dropped_blocks += bool(status and status.input_overflow)
        try:
            self._queue.put_nowait(samples.T.copy())
        except Full:
            self._report.dropped_blocks += 1


class DeviceOutput(Output):
    """What loudspeakers play: it begins when enough is there for one block to come late, and so again after a gap."""

    def __init__(
        self, device: str, form: PcmFormat, block_seconds: float, ahead_samples: int, report: StreamReport
    ) -> None:
        """`ahead_samples` are waited for before the first is played."""
        self._ahead, self._report = ahead_samples, report
        self._most_waiting = ahead_samples + round(_MOST_AHEAD_SECONDS * form.sample_rate)
        self._waiting = np.zeros((form.num_channels, 0), np.float32)
        self._playing, self._ending = False, False
        self._lock, self._empty = threading.Lock(), threading.Event()
        block_samples = max(1, round(block_seconds * form.sample_rate))
        self._stream = open_stream("OutputStream", device, form, block_samples, self._give)

    def write(self, block: np.ndarray) -> None:
        with self._lock:
            self._waiting = np.concatenate([self._waiting, block], axis=1)
            if self._waiting.shape[1] > self._most_waiting:
                self._waiting = self._waiting[:, -self._ahead :]
                self._report.skips += 1

    def finish(self) -> None:
        """Returns when everything has been played."""
        self._ending = True
        self._empty.wait(_DRAIN_SECONDS)
        self._stream.stop()
        self._stream.close()

    def _give(self, samples: np.ndarray, num_samples: int, time: Any, status: Any) -> None:
        """Called by PortAudio's thread."""
        with self._lock:
            there = self._waiting.shape[1]
            self._playing = self._playing or self._ending or there >= max(self._ahead, num_samples)
            count = min(there, num_samples) if self._playing else 0
            samples[:count] = self._waiting[:, :count].T
            samples[count:] = 0
            self._waiting = self._waiting[:, count:]
            if self._playing and count < num_samples:
                self._playing = False
                if self._ending:
                    self._empty.set()
                else:
                    self._report.underruns += 1

"""Where `unbraid stream` gets its blocks and where they go: pipes here, sound devices in `stream_devices`."""

from __future__ import annotations

import sys
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from queue import Empty, Queue
from typing import TypeVar

import numpy as np

from unbraid.audio.encode.wav import WavSink
from unbraid.audio.formats import Encoding
from unbraid.audio.pcm import encode_pcm
from unbraid.audio.pcm_stream import PcmDecoder, PcmFormat, read_wav_start
from unbraid.audio.sources import standard_input
from unbraid.errors import AudioReadError, AudioWriteError, ConfigError

_WAITING_PIECES = 4
"""What is read ahead of the model; a program that sends faster has to wait."""
_HEADER_PIECE_BYTES = 4096

Item = TypeVar("Item")


class Input(ABC):
    """Blocks that arrive."""

    form: PcmFormat

    @abstractmethod
    def blocks(self) -> Iterator[np.ndarray]:
        """The (channel, sample) as they come, until the input ends."""

    @abstractmethod
    def close(self) -> None:
        """No more is wanted; AudioReadError where the end was not a proper one."""


class Output(ABC):
    """Where blocks go."""

    @abstractmethod
    def write(self, block: np.ndarray) -> None:
        """(channel, sample), to be heard after those before."""

    @abstractmethod
    def finish(self) -> None:
        """Nothing follows."""


def wait_for(queue: Queue[Item], stall_seconds: float, on_stall: Callable[[], None]) -> Item:
    """The next of a queue, however long it takes; says once when it takes long."""
    try:
        return queue.get(timeout=stall_seconds)
    except Empty:
        on_stall()
        while True:
            # Without a timeout, Ctrl-C would not be heard on Windows.
            try:
                return queue.get(timeout=1.0)
            except Empty:
                continue


class PipeInput(Input):
    """Standard input, read by a thread, so that a program that stops sending is noticed."""

    def __init__(
        self, raw: PcmFormat | None, block_seconds: float, stall_seconds: float, on_stall: Callable[[], None]
    ) -> None:
        """`raw` is what the samples are, or None for WAV."""
        self._stream = standard_input()
        self._name = "standard input"
        self._stall_seconds, self._on_stall = stall_seconds, on_stall
        self._queue: Queue[bytes | OSError] = Queue(_WAITING_PIECES)
        self._piece_bytes = _HEADER_PIECE_BYTES
        self._pending = b""
        threading.Thread(target=self._read, daemon=True).start()
        promised = None
        if raw is None:
            raw, promised = read_wav_start(self._exactly, self._name)
        self.form = raw
        self._decoder = PcmDecoder(raw, promised)
        self._block_bytes = max(1, round(block_seconds * raw.sample_rate)) * raw.frame_bytes
        self._piece_bytes = self._block_bytes

    def blocks(self) -> Iterator[np.ndarray]:
        while data := self._pending or self._next():
            # What has piled up is still taken a block at a time.
            self._pending = data[self._block_bytes :]
            block = self._decoder.push(data[: self._block_bytes])
            if block.shape[1]:
                yield block

    def close(self) -> None:
        if rest := self._decoder.rest_bytes:
            raise AudioReadError(
                f"ended within a sample (bytes after the last whole one: {rest})",
                subject=self._name,
                remedy="check what sends it, and the format and channels that it was said to have",
            )
        if missing := self._decoder.missing_bytes:
            seconds = missing / self.form.frame_bytes / self.form.sample_rate
            raise AudioReadError(
                f"ended {seconds:.2f} s before the end that its WAV header promises",
                subject=self._name,
                remedy="check what sends it; what came is written",
            )

    def _read(self) -> None:
        # Unbuffered: a read gives what is there and does not wait for a whole block, and Python may end meanwhile. It
        # aborts where a thread holds the lock of a buffer.
        read = getattr(self._stream, "raw", self._stream).read
        data = b"?"
        while data:
            try:
                data = read(self._piece_bytes)
            except (OSError, ValueError) as error:
                self._queue.put(error if isinstance(error, OSError) else OSError(str(error)))
                return
            self._queue.put(data)

    def _next(self) -> bytes:
        item = wait_for(self._queue, self._stall_seconds, self._on_stall)
        if isinstance(item, OSError):
            raise AudioReadError(f"cannot be read ({item.strerror or item})", subject=self._name) from item
        return item

    def _exactly(self, count: int) -> bytes:
        while len(self._pending) < count and (data := self._next()):
            self._pending += data
        taken, self._pending = self._pending[:count], self._pending[count:]
        return taken


class PipeOutput(Output):
    """Standard output, in the input's format: WAV without an end, or raw samples."""

    def __init__(self, form: PcmFormat, num_channels: int, *, wav: bool) -> None:
        if sys.stdout.isatty():
            raise ConfigError("standard output is a terminal: send it to a file or a program, as in  … > two.wav")
        self._file = sys.stdout.buffer
        self._sample = form.sample
        encoding = Encoding(container="wav", sample=form.sample)
        with _writing():
            self._sink = WavSink(self._file, form.sample_rate, num_channels, encoding, streamed=True) if wav else None

    def write(self, block: np.ndarray) -> None:
        with _writing():
            if self._sink is not None:
                self._sink.write(block)
            else:
                self._file.write(encode_pcm(block, self._sample))
            self._file.flush()

    def finish(self) -> None:
        with _writing():
            self._file.flush()


@contextmanager
def _writing() -> Iterator[None]:
    """Turns what the system says into one sentence; a program that has seen enough is not complained about."""
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        raise AudioWriteError(
            f"cannot be written ({error.strerror or error})",
            subject="standard output",
            remedy="free some space, or send it elsewhere",
        ) from error

"""Reads a stretch out of the middle of a file without decoding what comes before it, where the format allows that.

Training reads thousands of short stretches a minute from files that it has seen before, so this is apart from
`reading`, which examines a recording closely and streams all of it.
"""

from __future__ import annotations

import os
import sys
import threading
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from unbraid.audio.decode.containers import open_container
from unbraid.audio.decode.libav import frame_samples
from unbraid.audio.formats import AudioInfo
from unbraid.audio.layout import from_vorbis
from unbraid.audio.pcm import to_float32
from unbraid.errors import AudioReadError
from unbraid.files.names import printable
from unbraid.lazy import LazyModule

if TYPE_CHECKING:
    import av
    import av.container
    import av.error
    import soundfile
else:
    av = LazyModule("av")
    soundfile = LazyModule("soundfile")

_EXTENSIONS = ".wav .wave .flac .ogg .oga .opus .aif .aiff .aifc .w64 .rf64 .caf .au .sph .wv1 .wv2"
_SOUNDFILE_EXTENSIONS = frozenset(_EXTENSIONS.split())
"""What libsndfile opens in 0.03 ms and seeks in exactly; it guesses the length of an MP3, so that is not here."""

_LAST_OGG_SAMPLES = 255 * 1024
"""As much as the last page of an Ogg Vorbis file may hold. Seeking into that page, libsndfile 1.2 lands some samples
off, so that it is read from before it."""

_TIMED_CONTAINERS = ("mov", "mp4", "matroska", "webm")
"""Containers that store the time of every packet. In others a seek lands somewhere near, so they are read from the
start."""

_RUN_UP_SAMPLES = 4096
"""Decoded before the stretch and dropped: overlapping transforms need the frame before to give what they gave in one
go."""

_MOST_CONTAINERS = 32
"""Open libav containers that are kept; opening an MP4 of five streams takes as long as reading seconds of it."""


def read_info(path: Path, stream: int = 0) -> AudioInfo:
    """What is known of one audio stream from the header and at most one decoded frame, its length included.

    Some containers count a few samples too many. Depth and tags are not looked for.
    """
    _refuse_missing(path)
    if _is_for_soundfile(path, stream):
        try:
            info = soundfile.info(_name(path))
            if 0 < info.frames < 2**62:
                return _info(path, info.frames, info.samplerate, info.channels)
        except (soundfile.SoundFileError, RuntimeError):
            _refuse_missing(path)
    with _open(path) as container:
        try:
            track = container.streams.audio[stream]
            if _is_timed(container):
                container.seek(track.start_time or 0, stream=track)  # It may have been read to its end before.
            frame = next(container.decode(track))
        except (av.error.FFmpegError, OSError, ValueError, IndexError, StopIteration) as error:
            raise _refusal(path, stream, error) from error
        rate, channels = frame.sample_rate, frame.layout.nb_channels
        if track.duration and track.time_base:
            seconds = float(track.duration * track.time_base)
        else:
            seconds = (container.duration or 0) / av.time_base
    if seconds <= 0:
        raise AudioReadError(
            "does not say how long it is", subject=f"'{printable(path)}'", remedy="convert it to WAV or FLAC"
        )
    return _info(path, round(seconds * rate), rate, channels)


def _name(path: Path) -> Any:
    """As libsndfile takes it: names on a disk need not be UTF-8, but on Windows. Its types do not know of bytes."""
    return str(path) if sys.platform == "win32" else os.fsencode(path)


def _info(path: Path, num_samples: int, sample_rate: int, num_channels: int) -> AudioInfo:
    return AudioInfo(
        name=f"'{printable(path)}'",
        sample_rate=sample_rate,
        num_channels=num_channels,
        num_samples=num_samples,
        expected_samples=num_samples,
    )


class _NotHere(Exception):
    """libsndfile opens the file and fails on its blocks."""


def read_range(path: Path, start: int, num_samples: int, stream: int = 0) -> np.ndarray:
    """(channel, sample) float32 at the file's own rate; shorter than `num_samples` where the file ends before.

    Raises AudioReadError if the file is not there, not audio, or damaged in that stretch.
    """
    if _is_for_soundfile(path, stream):
        try:
            with soundfile.SoundFile(_name(path)) as file:
                if file.subtype == "OPUS" and file.channels > 2:
                    raise _NotHere
                if start >= file.frames:
                    return np.zeros((file.channels, 0), np.float32)
                before = start
                if file.format == "OGG":
                    before = min(start, max(0, file.frames - _LAST_OGG_SAMPLES))
                file.seek(before)
                wanted = min(start + num_samples, file.frames) - before
                samples = file.read(wanted, dtype="float32", always_2d=True)[start - before :].T
                return from_vorbis(samples) if file.format == "OGG" else samples
        except _NotHere:
            pass
        except (soundfile.SoundFileError, RuntimeError) as error:
            _refuse_missing(path)
            # Time stamps that jump are damage to libsndfile, and usual in the Opus files that FFmpeg writes.
            if "Format not recognised" not in str(error) and not _is_opus(path):
                raise _refusal(path, stream, error) from error
    with _open(path) as container:
        try:
            return _decode_range(container, stream, start, num_samples)
        except (av.error.FFmpegError, OSError, ValueError, LookupError) as error:
            raise _refusal(path, stream, error) from error


def _decode_range(container: av.container.InputContainer, stream: int, start: int, num_samples: int) -> np.ndarray:
    track = container.streams.audio[stream]
    # Every stream that was demuxed has a time base.
    base, origin = track.time_base or Fraction(1, track.rate), track.start_time or 0
    timed = _is_timed(container)
    if timed:
        # Before the beginning too: there lies the frame that the first one overlaps with.
        run_up = start - _RUN_UP_SAMPLES
        container.seek(origin + int(run_up / (track.rate or 1) / base), stream=track, backward=True)
    samples: np.ndarray | None = None
    counted, channels, filled = 0, 1, 0
    for frame in container.decode(track):
        piece, channels = frame_samples(frame), frame.layout.nb_channels
        if samples is None:
            samples = np.zeros((channels, num_samples), np.float32)
        if timed and frame.pts is not None:
            counted = round((frame.pts - origin) * base * frame.sample_rate)
        first, last = max(counted, start), min(counted + piece.shape[1], start + num_samples)
        if first < last:
            samples[:, first - start : last - start] = to_float32(piece[:, first - counted : last - counted])
            filled = last - start
        counted += piece.shape[1]
        if counted >= start + num_samples:
            break
    return np.zeros((channels, 0), np.float32) if samples is None else samples[:, :filled]


def _is_timed(container: av.container.InputContainer) -> bool:
    return any(name in _TIMED_CONTAINERS for name in container.format.name.split(","))


def _is_for_soundfile(path: Path, stream: int) -> bool:
    return stream == 0 and path.suffix.lower() in _SOUNDFILE_EXTENSIONS


def _is_opus(path: Path) -> bool:
    with path.open("rb") as file:
        return b"OpusHead" in file.read(512)


_containers: OrderedDict[str, av.container.InputContainer] = OrderedDict()
_lock = threading.Lock()


def _forget_containers() -> None:
    """A forked worker shares the file position of what its parent had open, so it opens its own."""
    global _lock
    _containers.clear()
    _lock = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_containers)


@contextmanager
def _open(path: Path) -> Iterator[av.container.InputContainer]:
    """A container of that file that nobody else uses meanwhile; it is kept open for the next time if it can seek."""
    key = str(path)
    with _lock:
        container = _containers.pop(key, None)
    if container is None:
        _refuse_missing(path)
        try:
            container = open_container(key)
        except (av.error.FFmpegError, OSError, ValueError) as error:
            raise _refusal(path, 0, error) from error
    try:
        yield container
    except BaseException:
        container.close()
        raise
    if not _is_timed(container):
        container.close()
        return
    with _lock:
        other = _containers.pop(key, None)
        _containers[key] = container
        old = _containers.popitem(last=False)[1] if len(_containers) > _MOST_CONTAINERS else None
    for unused in (other, old):
        if unused is not None:
            unused.close()


def _refuse_missing(path: Path) -> None:
    try:
        size = path.stat().st_size if path.is_file() else None
    except OSError as error:  # a name that is too long, a folder that may not be looked into
        raise AudioReadError(
            f"cannot be read ({error.strerror})", subject=f"'{printable(path)}'", remedy="check the name and the folder"
        ) from error
    if size is None:
        raise AudioReadError("does not exist", subject=f"'{printable(path)}'", remedy="check the name and the folder")
    if size == 0:
        raise AudioReadError("is empty (0 bytes)", subject=f"'{printable(path)}'", remedy="copy it again")


def _refusal(path: Path, stream: int, error: Exception) -> AudioReadError:
    name = f"'{printable(path)}'"
    if isinstance(error, IndexError):
        return AudioReadError(
            f"has no audio stream {stream}", subject=name, remedy="check that it is the file you mean"
        )
    if path.suffix.lower() in (".wv1", ".wv2", ".sph"):
        return AudioReadError(
            "is compressed SPHERE, which is not read", subject=name, remedy="convert it with  sph2pipe -f wav IN OUT"
        )
    return AudioReadError(
        f"cannot be read ({str(error) or type(error).__name__})",
        subject=name,
        remedy="get another copy, or convert it to WAV",
    )

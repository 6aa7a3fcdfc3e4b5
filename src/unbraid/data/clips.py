"""Reads clips: any stretch of one, at any rate, without decoding the rest of the file."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from math import gcd
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from unbraid.audio.decode.headers import find_truncation
from unbraid.audio.pcm import LARGEST_SAMPLE, is_sample
from unbraid.audio.ranges import read_info, read_range
from unbraid.data.items import Clip, Dataset
from unbraid.errors import AudioReadError, DataError
from unbraid.files.names import printable
from unbraid.lazy import LazyModule
from unbraid.signal.lengths import fit_length

if TYPE_CHECKING:
    import soxr
else:
    soxr = LazyModule("soxr")

_CONTEXT_SAMPLES = 256
"""Read on both sides for resampling, at the lower of the two rates: the filter of soxr's HQ is shorter than that."""

_MANY_FILES = 64
"""From so many files on, headers are read in threads; on a network disk that is what takes the time."""


class UnreadableFilesError(DataError):
    """Files of a data set are missing, damaged, or not audio."""

    def __init__(self, files: Mapping[str, DataError], clips: Sequence[Clip] = ()) -> None:
        first = next(iter(files.values()))
        more = f" (and {len(files) - 1} more files: `unbraid check-data` lists them)" if len(files) > 1 else ""
        super().__init__(f"{first.predicate}{more}", subject=first.subject)
        self.files = dict(files)
        """Path -> why."""
        self.clips = tuple(clips)
        """What was opened beside them."""


def open_clip(path: Path, stream: int = 0) -> Clip:
    """The whole of a file as a clip; only its header is read."""
    try:
        info = read_info(path, stream)
    except AudioReadError as error:
        raise DataError.of(error) from error
    assert info.num_samples is not None
    return Clip(path, info.num_samples, info.sample_rate, info.num_channels, stream=stream)


def open_clips(paths: Sequence[Path]) -> list[Clip]:
    """`open_clip` of each; raises one UnreadableFilesError for all that cannot be opened."""
    if len(paths) < _MANY_FILES:
        opened = [_try_clip(path) for path in paths]
    else:
        with ThreadPoolExecutor(8) as pool:
            opened = list(pool.map(_try_clip, paths))
    clips = [one for one in opened if isinstance(one, Clip)]
    if len(clips) < len(opened):
        raise UnreadableFilesError(
            {str(path): one for path, one in zip(paths, opened, strict=True) if isinstance(one, DataError)}, clips
        )
    return clips


def _try_clip(path: Path) -> Clip | DataError:
    try:
        return open_clip(path)
    except DataError as error:
        return error


def is_read_from_start(clip: Clip) -> bool:
    """Whether its format does not let one begin in the middle, so that every stretch decodes all that is before it."""
    return clip.path.suffix.lower() in (".mp3", ".mp2", ".aac", ".wma", ".ac3", ".ape")


def read_clip(clip: Clip, start: int, num_samples: int, sample_rate: int) -> np.ndarray:
    """(channel, sample) float32: `num_samples` from `start` on, both at `sample_rate`, with zeros past the clip's end.

    How a clip is cut into stretches makes no difference: those that touch join without a seam, resampled or not.
    """
    assert min(start, num_samples) >= 0, f"a clip has no samples before its first: {start}, {num_samples}"
    if sample_rate == clip.sample_rate:
        return np.ascontiguousarray(fit_length(read_samples(clip, start, num_samples), num_samples))
    # Sample k * up of the result lies exactly on sample k * down of the file, so the filter starts there.
    common = gcd(clip.sample_rate, sample_rate)
    down, up = clip.sample_rate // common, sample_rate // common
    context = -(-_CONTEXT_SAMPLES // min(down, up))
    first = max(0, start // up - context)
    last = -(-(start + num_samples) // up) + context
    samples = read_samples(clip, first * down, (last - first) * down)
    samples = fit_length(samples, (last - first) * down)
    resampled = soxr.resample(np.ascontiguousarray(samples.T), clip.sample_rate, sample_rate, quality="HQ").T
    end = -(-clip.num_samples * up // down)
    begin = start - first * up
    kept = resampled[:, begin : begin + max(0, min(num_samples, end - start))]
    return np.ascontiguousarray(fit_length(kept, num_samples))


def read_source(
    clips: Iterable[Clip], start: int, num_samples: int, sample_rate: int, num_channels: int | None = None
) -> np.ndarray:
    """(channel, sample) float32: the sum of the clips, mono ones in every channel; `num_channels` None takes the most.

    No clips at all are silence.
    """
    parts = [read_clip(clip, start, num_samples, sample_rate) for clip in clips]
    wanted = num_channels or max((len(part) for part in parts), default=1)
    if not parts:
        return np.zeros((wanted, num_samples), np.float32)
    total = to_channels(parts[0], wanted)
    for part in parts[1:]:
        total = total + to_channels(part, wanted)
    return total


def to_channels(samples: np.ndarray, num_channels: int) -> np.ndarray:
    """Mono into every channel, anything into mono by the mean; other changes are refused."""
    if len(samples) == num_channels:
        return samples
    if num_channels == 1:
        return samples.mean(axis=0, keepdims=True)
    if len(samples) == 1:
        return np.repeat(samples, num_channels, axis=0)
    raise DataError(
        f"audio of {len(samples)} channels does not become {num_channels}", remedy="convert the files first"
    )


def clips_of(dataset: Dataset) -> Iterator[Clip]:
    """Every clip of a data set, mixtures included."""
    for item in dataset.items:
        yield from (clip for clips in item.sources.values() for clip in clips)
        if item.mixture is not None:
            yield item.mixture


def refuse_truncated(clips: Iterable[Clip]) -> None:
    """Raises one UnreadableFilesError for all files that hold less than their headers promise.

    Decoders take a file that was cut short for a short one, and nobody would notice.
    """
    paths = list(dict.fromkeys(clip.path for clip in clips))
    if len(paths) < _MANY_FILES:
        found = [_truncation(path) for path in paths]
    else:
        with ThreadPoolExecutor(8) as pool:
            found = list(pool.map(_truncation, paths))
    if bad := {str(path): error for path, error in zip(paths, found, strict=True) if error is not None}:
        raise UnreadableFilesError(bad)


def _truncation(path: Path) -> DataError | None:
    try:
        with path.open("rb") as file:
            truncation = find_truncation(file)
    except OSError as error:
        return DataError(f"cannot be read ({error.strerror})", subject=f"'{printable(path)}'", remedy="copy it again")
    if truncation is None:
        return None
    return DataError(f"is truncated ({truncation})", subject=f"'{printable(path)}'", remedy="copy it again")


def read_samples(clip: Clip, start: int, num_samples: int, *, as_stored: bool = False) -> np.ndarray:
    """(channel, sample) float32 at the clip's own rate; shorter where the clip, or its file, ends before.

    Raises DataError, naming the file, where samples are no numbers of audio; not so `as_stored`.
    """
    wanted = max(0, min(num_samples, clip.num_samples - start))
    if wanted == 0:
        return np.zeros((clip.num_channels, 0), np.float32)
    try:
        samples = read_range(clip.path, clip.start + start, wanted, clip.stream)
    except AudioReadError as error:
        raise DataError.of(error) from error
    if not as_stored and not is_sample(samples).all():
        raise DataError(
            f"holds samples that are not numbers (NaN, infinite or beyond {LARGEST_SAMPLE:.0e})",
            subject=f"'{printable(clip.path)}'",
            remedy="mend or remove it; `unbraid check-data` lists all such files",
        )
    return samples

"""Opens any recording and streams its samples, in memory that does not depend on its length."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from unbraid.audio.decode.headers import find_truncation
from unbraid.audio.decode.libav import LibavDecoder
from unbraid.audio.decode.libsndfile import NotForThisDecoder, SoundfileDecoder
from unbraid.audio.formats import AudioInfo, check_rate
from unbraid.audio.pcm import LARGEST_SAMPLE, is_sample
from unbraid.audio.sources import AudioSource, Source, SourceFacts
from unbraid.errors import AudioReadError, ConfigError


def open_audio(source: AudioSource, *, allow_truncated: bool = False, replace_nonfinite: bool = False) -> AudioReader:
    """Open a recording: a path, "-" for standard input, bytes, or a binary file object.

    With `allow_truncated`, a recording that ends too early gives what it holds; with `replace_nonfinite`, samples that
    are NaN or infinite become zero. Without them both are errors. A file object stays open and is yours to close.
    """
    return AudioReader(Source(source), allow_truncated=allow_truncated, replace_nonfinite=replace_nonfinite)


class AudioReader:
    """One pass over a recording; use it as a context manager."""

    def __init__(self, source: Source, *, allow_truncated: bool, replace_nonfinite: bool) -> None:
        self._source = source
        self._allow_truncated = allow_truncated
        self._replace_nonfinite = replace_nonfinite
        if not allow_truncated:
            with source.view() as view:
                truncation = find_truncation(view)
            if truncation is not None:
                raise AudioReadError(
                    f"is truncated ({truncation})",
                    subject=source.name,
                    remedy="pass `allow_truncated=True` to separate what is there",
                )
        try:
            self._decoder: SoundfileDecoder | LibavDecoder = SoundfileDecoder(source, allow_truncated)
        except NotForThisDecoder:
            self._decoder = LibavDecoder(source, allow_truncated)
        self.info: AudioInfo = self._decoder.info
        """What is known before decoding."""
        try:
            check_rate(self.info.sample_rate, source.name, AudioReadError)
        except AudioReadError:
            self.close()
            raise

    def blocks(self, block_samples: int) -> Iterator[np.ndarray]:
        """The samples in float32 (channel, sample) blocks of that many samples, the last one shorter.

        A reader streams once; `reopen` gives a second pass.
        """
        if block_samples < 1:
            raise ConfigError(f"blocks of {block_samples} samples", remedy="ask for at least 1")
        position = 0
        for block in _regroup(self._decoder.chunks(), block_samples):
            yield self._checked(block, position)
            position += block.shape[1]
        promised = self.info.num_samples
        if promised is not None and position < promised and not self._allow_truncated:
            rate = self.info.sample_rate
            raise AudioReadError(
                f"is truncated (its header promises {promised / rate:.1f} s and it holds {position / rate:.1f} s)",
                subject=self.info.name,
                remedy="pass `allow_truncated=True` to separate what is there",
            )

    def reopen(self) -> AudioReader:
        """A second, independent reader from the start."""
        return AudioReader(
            self._source, allow_truncated=self._allow_truncated, replace_nonfinite=self._replace_nonfinite
        )

    def verify(self) -> None:
        """Raises AudioReadError if the file was written to while it was read."""
        self._source.verify()

    def facts(self) -> SourceFacts:
        """What was read, with its hash."""
        return self._source.facts()

    def close(self) -> None:
        self._decoder.close()

    def __enter__(self) -> AudioReader:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _checked(self, block: np.ndarray, position: int) -> np.ndarray:
        good = is_sample(block)
        if good.all():
            return block
        if self._replace_nonfinite:
            return np.where(good, block, np.float32(0))
        bad = ~good
        first = position + int(bad.any(axis=0).argmax())
        rate = self.info.sample_rate
        raise AudioReadError(
            f"holds {int(bad.sum())} samples that are not numbers (NaN, infinite or beyond {LARGEST_SAMPLE:.0e}) "
            f"between {position / rate:.2f} s and {(position + block.shape[1]) / rate:.2f} s, "
            f"the first at {first / rate:.4f} s",
            subject=self.info.name,
            remedy="pass `replace_nonfinite=True` to replace them by zero",
        )


def _regroup(chunks: Iterator[np.ndarray], block_samples: int) -> Iterator[np.ndarray]:
    """Cut a stream of (channel, sample) arrays anew, into blocks of equal length and a shorter last one."""
    block, filled = None, 0
    for chunk in chunks:
        start = 0
        while start < chunk.shape[1]:
            if block is None:
                block, filled = np.empty((chunk.shape[0], block_samples), np.float32), 0
            take = min(block_samples - filled, chunk.shape[1] - start)
            block[:, filled : filled + take] = chunk[:, start : start + take]
            filled += take
            start += take
            if filled == block_samples:
                yield block
                block = None
    if block is not None:
        yield block[:, :filled].copy()

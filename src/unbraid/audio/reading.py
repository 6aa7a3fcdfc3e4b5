"""Opens any recording and streams its samples, in memory that does not depend on its length."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from unbraid.audio.decode.cover import may_have_cover, read_cover
from unbraid.audio.decode.headers import find_tagged_start, find_truncation
from unbraid.audio.decode.joined import find_parts
from unbraid.audio.decode.libav import LibavDecoder
from unbraid.audio.decode.libsndfile import NotForThisDecoder, SoundfileDecoder
from unbraid.audio.decode.raw import RawDecoder
from unbraid.audio.formats import AudioInfo, Cover, check_rate
from unbraid.audio.passage import Passage
from unbraid.audio.pcm import LARGEST_SAMPLE, is_sample
from unbraid.audio.pcm_stream import PcmFormat
from unbraid.audio.sources import AudioSource, Source, SourceFacts
from unbraid.errors import AudioReadError, ConfigError


def open_audio(
    source: AudioSource,
    *,
    allow_truncated: bool = False,
    replace_nonfinite: bool = False,
    track: str | None = None,
    passage: Passage | None = None,
    raw: PcmFormat | None = None,
) -> AudioReader:
    """Open a recording: a path, "-" for standard input, bytes, or a binary file object.

    With `allow_truncated`, a recording that ends too early gives what it holds, and one that is damaged is silent
    there; with `replace_nonfinite`, samples that are NaN or infinite become zero. Without them both are errors.
    `track` is a sound track by its number, from 1, or its language, where there are several; a `passage` is all that is
    read; `raw` says what samples without a header are. A file object stays open and is yours to close.
    """
    return AudioReader(
        Source(source),
        allow_truncated=allow_truncated,
        replace_nonfinite=replace_nonfinite,
        track=track,
        passage=passage,
        raw=raw,
    )


class AudioReader:
    """One pass over a recording; use it as a context manager."""

    def __init__(
        self,
        source: Source,
        *,
        allow_truncated: bool,
        replace_nonfinite: bool,
        track: str | None = None,
        passage: Passage | None = None,
        raw: PcmFormat | None = None,
    ) -> None:
        self._source, self._raw = source, raw
        self._passage = passage
        self._skipped = 0
        """Samples at the start that were not decoded."""
        self._allow_truncated = allow_truncated
        self._replace_nonfinite = replace_nonfinite
        self._track = track
        self._parts = [source] if raw is not None else _parts_of(source)
        if raw is None and not allow_truncated:
            self._refuse_truncated()
        self._decoder = self._open(self._parts[0])
        self.info: AudioInfo = self._decoder.info
        """What is known before decoding."""
        try:
            check_rate(self.info.sample_rate, source.name, AudioReadError)
            if len(self._parts) > 1:
                self.info = replace(self.info, **self._joint_length())
            if passage is not None:
                self.info = passage.within(self.info)
        except AudioReadError:
            self.close()
            raise

    def _refuse_truncated(self) -> None:
        with self._parts[-1].view() as view:
            truncation = find_truncation(view)
        if truncation is not None:
            raise AudioReadError(
                f"is truncated ({truncation})",
                subject=self._source.name,
                remedy="pass `allow_truncated=True` to separate what is there",
            )

    def _open(self, part: Source) -> SoundfileDecoder | LibavDecoder | RawDecoder:
        if self._raw is not None:
            return RawDecoder(part, self._raw, self._allow_truncated)
        try:
            decoder = SoundfileDecoder(part, self._allow_truncated)
        except NotForThisDecoder:
            return LibavDecoder(part, self._allow_truncated, self._track)
        if self._track not in (None, "1"):
            decoder.close()
            raise AudioReadError(
                f"has no sound track '{self._track}', only one", subject=part.name, remedy="leave `track` out"
            )
        return decoder

    def _joint_length(self) -> dict[str, int | None]:
        counts: list[int | None] = [self.info.num_samples]
        expected: list[int | None] = [self.info.expected_samples]
        for part in self._parts[1:]:
            decoder = self._open(part)
            counts.append(decoder.info.num_samples)
            expected.append(decoder.info.expected_samples)
            decoder.close()
        return {"num_samples": _total(counts), "expected_samples": _total(expected)}

    def blocks(self, block_samples: int) -> Iterator[np.ndarray]:
        """The samples in float32 (channel, sample) blocks of that many samples, the last one shorter.

        A reader streams once; `reopen` gives a second pass.
        """
        if block_samples < 1:
            raise ConfigError(f"blocks of {block_samples} samples", remedy="ask for at least 1")
        position = 0
        for block in _regroup(self._wanted(), block_samples):
            yield self._checked(block, position)
            position += block.shape[1]
        promised, expected = self.info.num_samples, self.info.expected_samples
        if promised is not None and position < promised:
            rate = self.info.sample_rate
            lengths = f"its header promises {promised / rate:.1f} s and it holds {position / rate:.1f} s"
            if self._allow_truncated:
                self.info.remarks.append(f"is truncated: {lengths}")
                return
            raise AudioReadError(
                f"is truncated ({lengths})",
                subject=self.info.name,
                remedy="pass `allow_truncated=True` to separate what is there",
            )
        if self._allow_truncated and promised is None and expected and expected - position > self.info.sample_rate:
            # An estimate is no promise, but so much is worth a word.
            rate = self.info.sample_rate
            self.info.remarks.append(f"holds {position / rate:.1f} s, and its header speaks of {expected / rate:.1f} s")

    def _wanted(self) -> Iterator[np.ndarray]:
        if self._passage is None:
            return self._chunks()
        start = self.info.start_sample if len(self._parts) == 1 else 0
        self._skipped = self._decoder.skip(start)
        return self._passage.cut(self._chunks(), self._skipped, self.info)

    def _chunks(self) -> Iterator[np.ndarray]:
        """The samples of all parts; where one decoder fails the other goes on, so that only damage stops both."""
        for number, part in enumerate(self._parts):
            if number:
                self._decoder.close()
                self._decoder = self._open(part)
                self._check_same(self._decoder.info)
            count = 0
            try:
                for chunk in self._decoder.chunks():
                    yield chunk
                    count += chunk.shape[1]
            except NotForThisDecoder:
                self._decoder.close()
                self._decoder = LibavDecoder(part, self._allow_truncated)
                self._check_same(self._decoder.info)
                yield from _skip(self._decoder.chunks(), self._skipped + count)
            if self._decoder.info.remarks is not self.info.remarks:
                self.info.remarks.extend(self._decoder.info.remarks)

    def _check_same(self, info: AudioInfo) -> None:
        if (info.num_channels, info.sample_rate) != (self.info.num_channels, self.info.sample_rate):
            raise AudioReadError(
                f"changes to {info.num_channels} channels at {info.sample_rate} Hz in the middle",
                subject=info.name,
                remedy="convert it to WAV first",
            )

    def reopen(self) -> AudioReader:
        """A second, independent reader from the start."""
        return AudioReader(
            self._source,
            allow_truncated=self._allow_truncated,
            replace_nonfinite=self._replace_nonfinite,
            track=self._track,
            passage=self._passage,
            raw=self._raw,
        )

    def verify(self) -> None:
        """Raises AudioReadError if the file was written to while it was read."""
        self._source.verify()

    def cover(self) -> Cover | None:
        """The picture that the recording carries, where there is one that can be read."""
        if self._raw is not None:
            return None
        is_there = self._decoder.has_cover if isinstance(self._decoder, LibavDecoder) else may_have_cover(self._source)
        return read_cover(self._source) if is_there else None

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


def _parts_of(source: Source) -> list[Source]:
    """The recordings that are joined to one file, without tags in front."""
    with source.view() as view:
        if start := find_tagged_start(view):
            source = source.part(start, source.size - start)
    with source.view() as view:
        parts = find_parts(view)
    return [source] if len(parts) == 1 else [source.part(start, size) for start, size in parts]


def _total(counts: list[int | None]) -> int | None:
    known = [count for count in counts if count is not None]
    return sum(known) if len(known) == len(counts) else None


def _skip(chunks: Iterator[np.ndarray], num_samples: int) -> Iterator[np.ndarray]:
    for chunk in chunks:
        if chunk.shape[1] > num_samples:
            yield chunk[:, num_samples:]
        num_samples = max(0, num_samples - chunk.shape[1])


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

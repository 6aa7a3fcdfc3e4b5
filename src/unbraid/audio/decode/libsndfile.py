"""Decodes through libsndfile: WAV, RF64, W64, AIFF, CAF, AU, FLAC, Ogg Vorbis, Opus."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from unbraid.audio.decode.headers import is_mpeg_audio
from unbraid.audio.decode.riff import MOST_CHUNKS, WaveHeader, is_wave, read_wave_header
from unbraid.audio.formats import TAG_NAMES, AudioInfo, Encoding, SampleFormat
from unbraid.audio.layout import USUAL_MASKS, from_vorbis
from unbraid.audio.sources import Source
from unbraid.errors import AudioReadError
from unbraid.lazy import LazyModule

if TYPE_CHECKING:
    import soundfile
else:
    soundfile = LazyModule("soundfile")

_DEPTHS: dict[str, SampleFormat] = {
    "PCM_S8": "int16",
    "PCM_U8": "int16",
    "PCM_16": "int16",
    "PCM_24": "int24",
    "PCM_32": "int32",
    "ALAC_16": "int16",
    "ALAC_20": "int24",
    "ALAC_24": "int24",
    "ALAC_32": "int32",
    "FLOAT": "float32",
    "DOUBLE": "float32",
    "ULAW": "int16",
    "ALAW": "int16",
}

_READ_SAMPLES = 65_536
_FLAC_READ_SAMPLES = 4_096

_UNKNOWN_LENGTH = 2**62


class NotForThisDecoder(Exception):
    """The bytes are not what this decoder reads; another may."""


class SoundfileDecoder:
    """One pass over a file that libsndfile knows, in blocks of any size."""

    def __init__(self, source: Source, allow_truncated: bool) -> None:
        self._name = source.name
        self._allow_truncated = allow_truncated
        with source.view() as view:
            # libsndfile guesses the length of an MP3 without a Xing header from its first frames, and soundfile then
            # cuts what is longer.
            head = view.read(12)
            if is_mpeg_audio(head):
                raise NotForThisDecoder("its length would be a guess")
            wave = read_wave_header(view) if is_wave(head) else None
        if wave is not None and wave.is_endless:
            raise AudioReadError(
                f"has no samples in its first {MOST_CHUNKS:,} chunks: it is damaged, or no recording",
                subject=source.name,
                remedy="get another copy",
            )
        try:
            self._file = soundfile.SoundFile(source.open())
        except (soundfile.SoundFileError, RuntimeError) as error:
            raise NotForThisDecoder(str(error)) from error
        # A WAV that was never closed promises no data, and soundfile fails at the end of a FLAC without a length;
        # libav reads what is there.
        if self._file.format == "MP3" or not 0 < self._file.frames < _UNKNOWN_LENGTH:
            self._file.close()
            raise NotForThisDecoder("its length is not known here")
        # Over a damaged page libsndfile goes on as if nothing were missing; libav keeps the time.
        if self._file.format == "OGG" and allow_truncated:
            self._file.close()
            raise NotForThisDecoder("it may be damaged")
        # libsndfile fails on the blocks of some Opus files of several coupled streams.
        if self._file.subtype == "OPUS" and self._file.channels > 2:
            self._file.close()
            raise NotForThisDecoder("its channels are for another decoder")
        num_samples = self._file.frames
        if self._file.format == "FLAC":
            num_samples = self._flac_length(source, num_samples)
        self._length = num_samples
        if wave is not None and wave.is_compressed:
            num_samples = wave.true_length(num_samples)
            self._length = num_samples or self._length
        # Its length comes from time stamps, which encoders round: FFmpeg's jump by 488 samples to and fro.
        if self._file.subtype == "OPUS":
            num_samples = None
        self.info = AudioInfo(
            name=source.name,
            sample_rate=self._file.samplerate,
            num_channels=self._file.channels,
            num_samples=num_samples,
            expected_samples=self._length,
            encoding=Encoding(sample=_DEPTHS.get(self._file.subtype, "int24")),
            tags=self._tags() if wave is None else wave.tags,
            channel_mask=self._mask(wave),
        )

    def _tags(self) -> dict[str, str]:
        return {name: text for name, text in self._file.copy_metadata().items() if name in TAG_NAMES}

    def _mask(self, wave: WaveHeader | None) -> int | None:
        if wave is not None:
            return wave.channel_mask
        return USUAL_MASKS.get(self._file.channels) if self._file.format in ("OGG", "FLAC") else None

    def skip(self, num_samples: int) -> int:
        """Leaves out so many samples where that is exact without decoding them; gives how many it has left out."""
        if self._file.format == "OGG" or self._file.subtype not in _DEPTHS or not 0 < num_samples < self._length:
            return 0
        self._file.seek(num_samples)
        self._length -= num_samples
        return num_samples

    def chunks(self) -> Iterator[np.ndarray]:
        """The samples from the start, as float32 (channel, sample) arrays; raises NotForThisDecoder where it fails."""
        size = _FLAC_READ_SAMPLES if self._file.format == "FLAC" else _READ_SAMPLES
        reorders = self._file.format == "OGG"
        left = self._length
        while left > 0:
            samples, error = _read_what_is_held(self._file, min(size, left))
            chunk = samples.T
            left -= chunk.shape[1]
            if chunk.shape[1]:
                yield from_vorbis(chunk) if reorders else chunk
            if error is not None:
                raise NotForThisDecoder(str(error)) from error
            if chunk.shape[1] == 0:
                return

    def close(self) -> None:
        self._file.close()

    def _flac_length(self, source: Source, promised: int) -> int:
        """The samples that are there; a look at the last one tells within milliseconds whether all are."""
        try:
            with soundfile.SoundFile(source.open()) as probe:
                probe.seek(promised - 1)
                if len(probe.read(1)) == 1:
                    return promised
        except (soundfile.SoundFileError, RuntimeError):
            pass
        held = 0
        with soundfile.SoundFile(source.open()) as probe:
            samples, error = _read_what_is_held(probe, _FLAC_READ_SAMPLES)
            while error is None and len(samples):
                held += len(samples)
                samples, error = _read_what_is_held(probe, _FLAC_READ_SAMPLES)
        held += len(samples)
        if held < promised and not self._allow_truncated:
            rate = self._file.samplerate
            self._file.close()
            raise AudioReadError(
                f"is truncated (its header promises {promised / rate:.1f} s and it holds {held / rate:.1f} s)",
                subject=self._name,
                remedy="pass `allow_truncated=True` to separate what is there",
            )
        return held


def _read_what_is_held(file: soundfile.SoundFile, size: int) -> tuple[np.ndarray, Exception | None]:
    """(sample, channel) the next samples, those before a damaged place included, and what went wrong there.

    soundfile raises away what it has decoded, but it lies in the array that it was given.
    """
    samples = np.full((size, file.channels), np.nan, np.float32)
    try:
        return samples[: len(file.read(out=samples))], None
    except (soundfile.SoundFileError, RuntimeError) as error:
        unread = np.isnan(samples[:, 0])
        return samples[: int(unread.argmax()) if unread.any() else size], error

"""Samples without a header, of which somebody says what they are."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from unbraid.audio.formats import AudioInfo, Encoding
from unbraid.audio.pcm import decode_pcm
from unbraid.audio.pcm_stream import PcmFormat
from unbraid.audio.sources import Source
from unbraid.errors import AudioReadError

_READ_FRAMES = 1 << 16


class RawDecoder:
    """One pass over raw samples, in blocks of any size."""

    def __init__(self, source: Source, form: PcmFormat, allow_truncated: bool) -> None:
        self._file, self._form = source.view(), form
        frames, rest = divmod(source.size, form.frame_bytes)
        if rest and not allow_truncated:
            self._file.close()
            raise AudioReadError(
                f"ends within a sample (bytes after the last whole one: {rest})",
                subject=source.name,
                remedy="check the format and the channels that `raw` says, or pass `allow_truncated=True`",
            )
        self._left = frames
        self.info = AudioInfo(
            name=source.name,
            sample_rate=form.sample_rate,
            num_channels=form.num_channels,
            num_samples=frames,
            expected_samples=frames,
            encoding=Encoding(sample=form.sample),
        )

    def skip(self, num_samples: int) -> int:
        """Leaves so many samples out."""
        skipped = min(num_samples, self._left)
        self._file.seek(skipped * self._form.frame_bytes)
        self._left -= skipped
        return skipped

    def chunks(self) -> Iterator[np.ndarray]:
        """The samples as float32 (channel, sample) arrays."""
        while self._left and (data := self._file.read(min(self._left, _READ_FRAMES) * self._form.frame_bytes)):
            data = data[: len(data) // self._form.frame_bytes * self._form.frame_bytes]
            chunk = decode_pcm(data, self._form.sample, self._form.num_channels)
            self._left -= chunk.shape[1]
            yield chunk

    def close(self) -> None:
        self._file.close()

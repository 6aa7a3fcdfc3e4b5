"""Adds stems up again, each at a gain of its own."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path

import numpy as np

from unbraid.audio.reading import open_audio
from unbraid.errors import ConfigError
from unbraid.output.config import OutputConfig
from unbraid.output.stem_files import StemWriters
from unbraid.separation.config import MOST_GAIN_DB

_BLOCK_SAMPLES = 1 << 16


def remix_stems(
    stems: Mapping[str, str | os.PathLike[str]],
    gains_db: Mapping[str, float],
    path: str | os.PathLike[str],
    output: OutputConfig | None = None,
) -> Path:
    """Writes the sum of the stems that have a gain; the others are left out. All are of one rate and length.

    `clip_mode` says what happens where the sum exceeds full scale in a format that cannot hold it.
    """
    output = output or OutputConfig()
    for name, gain_db in gains_db.items():
        if name not in stems:
            raise ConfigError(f"there is no stem '{name}'", remedy=f"there are: {', '.join(stems)}")
        if not gain_db <= MOST_GAIN_DB:
            raise ConfigError(f"the gain of {name} is a number of at most {MOST_GAIN_DB:g} dB, not {gain_db}")
    heard = {name: np.float32(10 ** (gain_db / 20)) for name, gain_db in gains_db.items() if gain_db > -np.inf}
    if not heard:
        raise ConfigError("every stem is off, so there is nothing to write", remedy="give one a gain")
    with ExitStack() as stack:
        readers = {name: stack.enter_context(open_audio(stems[name], allow_truncated=True)) for name in heard}
        info = next(iter(readers.values())).info
        encoding = output.encoding_for(info)
        writers = stack.enter_context(
            StemWriters(
                {"remix": path},
                info.sample_rate,
                info.num_channels,
                encoding,
                expected_samples=info.num_samples,
                channel_mask=info.channel_mask,
            )
        )
        for blocks in zip(*(reader.blocks(_BLOCK_SAMPLES) for reader in readers.values()), strict=True):
            total = sum(gain * block for gain, block in zip(heard.values(), blocks, strict=True))
            writers.write(np.asarray(total, np.float32)[None])
        writers.commit(output.clip_mode)
    return Path(path)

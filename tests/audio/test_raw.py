"""Samples without a header."""

from __future__ import annotations

import numpy as np
import pytest

from unbraid.audio.passage import Passage
from unbraid.audio.pcm import encode_pcm
from unbraid.audio.pcm_stream import PcmFormat
from unbraid.audio.reading import open_audio
from unbraid.errors import AudioReadError, ConfigError


@pytest.mark.parametrize("sample", ["int16", "int24", "int32", "float32", "float64"])
def test_samples_are_those_that_were_written(tmp_path, sample):
    block = np.random.default_rng(0).uniform(-0.9, 0.9, (2, 70_001)).astype(np.float32)
    (tmp_path / "a.raw").write_bytes(encode_pcm(block, sample))
    form = PcmFormat(sample=sample, sample_rate=48_000, num_channels=2)
    with open_audio(tmp_path / "a.raw", raw=form) as reader:
        assert (reader.info.sample_rate, reader.info.num_samples) == (48_000, 70_001)
        assert reader.info.encoding.sample == sample
        read = np.concatenate(list(reader.blocks(1000)), axis=1)
    np.testing.assert_allclose(read, block, atol=2.0**-15)
    passage = Passage(start_seconds=1.0, duration_seconds=0.25)
    with open_audio(tmp_path / "a.raw", raw=form, passage=passage) as reader:
        part = np.concatenate(list(reader.blocks(1000)), axis=1)
    np.testing.assert_array_equal(part, read[:, 48_000:60_000])


def test_a_header_is_sound_as_well_and_a_frame_that_is_not_whole_is_refused(tmp_path):
    (tmp_path / "a.raw").write_bytes(b"RIFF" + bytes(5))
    form = PcmFormat(sample="int16", sample_rate=8_000)
    with pytest.raises(AudioReadError, match=r"ends within a sample \(bytes after the last whole one: 1\)"):
        open_audio(tmp_path / "a.raw", raw=form)
    with open_audio(tmp_path / "a.raw", raw=form, allow_truncated=True) as reader:
        assert reader.info.num_samples == 4
    with pytest.raises(ConfigError, match="sample rate"):
        PcmFormat(sample_rate=10)

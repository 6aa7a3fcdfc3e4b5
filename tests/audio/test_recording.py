from __future__ import annotations

import io
import sys

import numpy as np
import pytest

from unbraid.audio.formats import Encoding
from unbraid.audio.recording import Recording, as_samples
from unbraid.errors import ConfigError


def test_facts(noise):
    recording = Recording(noise, 44_100)
    assert (recording.num_channels, recording.num_samples) == (2, 57_331)
    assert recording.seconds == pytest.approx(1.3, rel=1e-3)
    np.testing.assert_array_equal(np.asarray(recording), noise)
    assert "2 channels" in repr(recording)


def test_extensions_choose_the_format(tmp_path, noise):
    for name, depth in [("a.wav", "float32"), ("a.flac", "int24"), ("a.mp3", "int24"), ("a.OGG", "int24")]:
        Recording(noise, 44_100).write(tmp_path / name)
        assert Recording.read(tmp_path / name).num_samples == 57_331, depth
    Recording(noise, 44_100).write(tmp_path / "b.wav", Encoding(sample="int16"))
    assert (tmp_path / "b.wav").stat().st_size == 44 + 4 * 57_331


def test_standard_output(noise, monkeypatch):
    out = io.TextIOWrapper(io.BytesIO())
    monkeypatch.setattr(sys, "stdout", out)
    Recording(noise, 44_100).write("-")
    np.testing.assert_array_equal(Recording.read(out.buffer.getvalue()).samples, noise)


def test_resampled(noise):
    recording = Recording(noise, 44_100).resampled(16_000)
    assert recording.sample_rate == 16_000
    assert recording.seconds == pytest.approx(1.3, rel=1e-3)


def test_shapes_are_mended_or_explained():
    assert as_samples(np.zeros(5)).shape == (1, 5)
    assert as_samples([[0.0, 0.5]]).dtype == np.float32
    np.testing.assert_array_equal(as_samples(np.array([-32768, 16384], np.int16)), [[-1, 0.5]])
    with pytest.raises(ConfigError, match=r"samples\.T"):
        Recording(np.zeros((48_000, 2), np.float32), 48_000)
    for bad in (np.zeros((1, 2, 3)), np.zeros((0, 5)), np.zeros(3, complex), np.array("text"), np.array(0.5)):
        with pytest.raises(ConfigError):
            as_samples(bad)
    with pytest.raises(ConfigError, match="1,000 to 384,000"):
        Recording(np.zeros(5), 10)


@pytest.mark.parametrize(
    "samples",
    [[1, 2, 3], np.arange(9), [[1, 2], [3]], ["a", "b"], [[0.1, None]], {1: 2}, None, [1 + 2j], np.ones(3) > 0],
)
def test_what_is_no_audio_is_refused(samples):
    """Integers of 64 bits among it: a list of 16-bit values would become silence."""
    with pytest.raises(ConfigError, match="cannot take samples"):
        as_samples(samples)

"""What the player draws: levels of a known sine, any shape of sound, and a picture that another reader understands."""

import io

import numpy as np
import pytest
from PIL import Image

from unbraid.pictures.player.views import draw_spectrogram, draw_waveform, quantise
from unbraid.pictures.png import grey_png


def sine(hz, level, rate, seconds=1.0):
    return quantise(level * np.sin(2 * np.pi * hz * np.arange(round(seconds * rate)) / rate)[:, None])


def test_levels_are_against_a_full_scale_sine():
    drawn = draw_spectrogram(sine(1000, 0.1, 16_000), 16_000, 0, 16_000, 50, 128)
    # 20 dB below full scale, of the 90 dB from the strongest colour to none.
    assert drawn[:, 25].max() == pytest.approx(255 * 70 / 90, abs=1)
    row = 127 - drawn[:, 25].argmax()
    assert 40 * 200 ** (row / 128) <= 1000 <= 40 * 200 ** ((row + 1) / 128)


def test_the_waveform_is_the_span_of_each_column():
    samples = np.zeros((100, 2))
    samples[55] = 0.5, -0.25
    drawn = draw_waveform(quantise(samples), 0, 100, 10)
    assert drawn[5].tolist() == [-32, 64]
    assert not drawn[[0, 1, 2, 3, 4, 6, 7, 8, 9]].any()


@pytest.mark.parametrize("num_samples", [1, 5, 5000])
def test_any_sound_can_be_drawn(num_samples):
    silence = quantise(np.zeros((num_samples, 1)))
    assert draw_spectrogram(silence, 44_100, 0, num_samples, 40, 32).shape == (32, 40)
    assert draw_waveform(silence, 0, num_samples, 40).shape == (40, 2)


def test_grey_pictures():
    pixels = np.random.default_rng(0).integers(0, 256, (7, 13), np.uint8)
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(grey_png(pixels)))), pixels)

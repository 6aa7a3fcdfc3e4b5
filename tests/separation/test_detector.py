from pathlib import Path

import numpy as np
import pytest
import soundfile

from unbraid.separation import detector
from unbraid.separation.detector import RATE, detect, detect_samples, features_of

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.mark.parametrize("name", ["two-speakers-1", "two-speakers-2", "noise/two-speakers-noise-1"])
def test_talk_is_talk(name):
    assert detect(EXAMPLES / name / "mixture.flac").kind == "talk"


def test_film_sound_is_film_sound():
    assert detect(EXAMPLES / "film/film-1/mixture.flac").kind == "film"


def test_chords_over_a_beat_are_music():
    time = np.arange(12 * RATE) / RATE
    rng = np.random.default_rng(0)
    sound = np.zeros_like(time)
    for beat in range(24):
        start = beat * RATE // 2
        piece = time[: RATE // 2]
        for note in np.array([[220, 277.2, 329.6], [174.6, 220, 261.6], [196, 246.9, 293.7]])[(beat // 4) % 3]:
            sound[start : start + len(piece)] += (
                sum(np.sin(2 * np.pi * k * note * piece) / k for k in range(1, 6)) * 0.1
            )
        click = rng.standard_normal(RATE // 2) * np.exp(-piece * 40)
        sound[start : start + len(piece)] += click * 0.3
    assert detect_samples(sound.astype(np.float32)).kind == "music"


def test_silence_is_nothing():
    detection = detect_samples(np.zeros(5 * RATE, np.float32))
    assert detection.kind is None
    assert detection.nothing == "silence"
    assert detection.certainty == 0


@pytest.mark.parametrize("hz", [110.0, 1000.3, 3000.0])
def test_a_steady_tone_is_no_music(hz):
    tone = np.sin(2 * np.pi * hz * np.arange(20 * RATE) / RATE)
    hiss = 0.01 * np.random.default_rng(0).standard_normal(len(tone))
    for sound in (tone, tone[: 2 * RATE], tone + hiss):
        detection = detect_samples(sound.astype(np.float32))
        assert (detection.kind, detection.nothing) == (None, "a steady tone")
    assert detect_samples((tone + np.sin(5000 * np.arange(len(tone)) / RATE)).astype(np.float32)).nothing is None


def test_neither_level_rate_nor_channels_tell(tmp_path):
    samples, rate = soundfile.read(EXAMPLES / "two-speakers-1/mixture.flac")
    plain = detect(samples[None].astype(np.float32), rate)
    soft = detect(np.stack([samples, samples]).astype(np.float32) * 0.01, rate)
    assert soft.probabilities["talk"] == pytest.approx(plain.probabilities["talk"], abs=0.02)
    np.testing.assert_allclose(
        features_of(samples.astype(np.float32)), features_of(samples.astype(np.float32) * 0.1), atol=1e-2
    )


def test_only_the_first_minute_is_heard(tmp_path, monkeypatch):
    monkeypatch.setattr(detector, "HEARD_SECONDS", 2.0)
    talk = soundfile.read(EXAMPLES / "two-speakers-1/mixture.flac")[0][: 2 * RATE]
    noise = np.random.default_rng(0).standard_normal(20 * RATE)
    heard = detect(np.concatenate([talk, noise])[None].astype(np.float32), RATE)
    alone = detect(talk[None].astype(np.float32), RATE)
    assert heard.probabilities == pytest.approx(alone.probabilities, abs=0.05)


def test_a_short_recording_is_heard_all_the_same():
    assert detect_samples(np.random.default_rng(0).standard_normal(100).astype(np.float32)).kind is not None


def test_it_is_small():
    assert detector._FILE.stat().st_size < 200_000

"""Where stems sound, by the rule of SFC, against the rule written out as a loop."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.data.builders import noise, write
from unbraid.data.clips import open_clip
from unbraid.data.prepare.active_segments import ActivityRule, active_segments, chunk_energies, find_active
from unbraid.errors import ConfigError

RULE = ActivityRule()


def slow_segments(samples, rate):
    """The rule, word by word: (channel, sample) -> starts of the segments that are kept."""
    segment, hop = 8 * rate, 4 * rate
    starts = list(range(0, samples.shape[1] - segment + 1, hop))
    energies = []
    for start in starts:
        of_segment = []
        for part in range(10):
            first = start + part * segment // 10
            energy = 0.0
            for channel in samples:
                energy += float(np.sum(channel[first : first + segment // 10].astype(np.float64) ** 2))
            of_segment.append(energy if energy != 0 else 1e-5)
        energies.append(of_segment)
    everything = sorted(energy for of_segment in energies for energy in of_segment)
    place = 0.15 * (len(everything) - 1)
    low, high = everything[int(place)], everything[min(int(place) + 1, len(everything) - 1)]
    threshold = max(low + (high - low) * (place - int(place)), 1e-3)
    return [
        start
        for start, of_segment in zip(starts, energies, strict=True)
        if sum(energy > threshold for energy in of_segment) >= 5
    ]


def bursts(seed, seconds, rate, channels=2):
    """Noise that comes and goes, with stretches of nothing at all."""
    generator = np.random.default_rng(seed)
    envelope = np.repeat(generator.choice([0, 0, 1e-4, 0.01, 0.3], seconds // 3 + 1), 3 * rate)[: seconds * rate]
    return (envelope * generator.standard_normal((channels, seconds * rate)) / 4).astype(np.float32)


@pytest.mark.parametrize(("seed", "seconds"), [(0, 60), (1, 61), (2, 8), (3, 37), (4, 120)])
def test_the_rule_is_the_rule_written_out(tmp_path, seed, seconds):
    rate = 1000
    samples = bursts(seed, seconds, rate)
    write(tmp_path / "stem.wav", samples.T, rate, subtype="FLOAT")
    found = find_active((open_clip(tmp_path / "stem.wav"),))
    assert [start for start, _ in found] == slow_segments(samples, rate)
    assert all(length == 8 * rate for _, length in found)
    assert seconds < 60 or 0 < len(found) < (seconds - 8) // 4 + 1


@given(st.lists(st.floats(0, 10), min_size=10, max_size=80), st.integers(0, 5))
@settings(deadline=None)
def test_louder_chunks_never_lose_a_segment_that_is_all_above(energies, boost):
    energies = np.array(energies)
    kept = active_segments(energies, RULE)
    assert all(first % 5 == 0 and first + 10 <= len(energies) for first in kept)
    # Scaling does not move segments across a threshold that scales too.
    if np.percentile(energies, 15) > 1e-3 and energies.min() > 0:
        assert np.array_equal(kept, active_segments(energies * 2.0**boost, RULE))


def test_silence_has_no_segments_and_steady_sound_has(tmp_path):
    write(tmp_path / "none.wav", np.zeros((40_000, 1)), 1000)
    assert find_active((open_clip(tmp_path / "none.wav"),)) == []
    write(tmp_path / "all.wav", noise(0, seconds=40, rate=1000), 1000)
    assert len(find_active((open_clip(tmp_path / "all.wav"),))) == 9


def test_a_stem_shorter_than_a_segment_is_one_if_it_sounds(tmp_path):
    write(tmp_path / "hit.wav", noise(0, seconds=1.5, rate=1000), 1000)
    assert find_active((open_clip(tmp_path / "hit.wav"),)) == [(0, 1500)]
    write(tmp_path / "none.wav", np.zeros((1500, 1)), 1000)
    assert find_active((open_clip(tmp_path / "none.wav"),)) == []


def test_energies_are_of_the_sum_of_the_clips(tmp_path):
    left, right = noise(1, seconds=3, rate=1000), noise(2, seconds=2, rate=1000, channels=2)
    write(tmp_path / "a.wav", left, 1000, subtype="FLOAT")
    write(tmp_path / "b.wav", right, 1000, subtype="FLOAT")
    clips = (open_clip(tmp_path / "a.wav"), open_clip(tmp_path / "b.wav"))
    total = np.repeat(left, 2, axis=1)
    total[:2000] += right
    expected = (total**2).reshape(6, 500, 2).sum(axis=(1, 2))
    assert np.allclose(chunk_energies(clips, 500), expected, rtol=1e-4)
    shifted = replace(clips[0], start=1000, num_samples=1000)
    assert np.allclose(chunk_energies((shifted,), 500), (left[1000:2000] ** 2).reshape(2, 500).sum(axis=1), rtol=1e-4)


def test_a_rule_that_cannot_be_is_refused():
    with pytest.raises(ConfigError):
        ActivityRule(hop_chunks=11)

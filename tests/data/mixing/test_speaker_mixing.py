"""Mixtures of speakers: who, how long, how loud, how fast."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.data.made import RATE, dataset, spec, tone, utterances, write_clip
from unbraid.data.augment.speed import change_speed
from unbraid.data.items import Item
from unbraid.data.mixing.drawing import SpeakerMixing, build_drawer, draw_example
from unbraid.data.mixing.levels import loudness_lufs, measure_db
from unbraid.data.mixing.speaker_levels import MIXTURE_LEVEL_DB, BalancedLevels, ChainedLevels, LoudnessLevels
from unbraid.errors import ConfigError, DataError

TWO = spec(("speaker1", "speaker2"), channels=1, exchangeable=True)


@pytest.fixture(scope="module")
def speech(tmp_path_factory):
    return utterances(tmp_path_factory.mktemp("speech"))


@pytest.fixture(scope="module")
def noisy(tmp_path_factory):
    return utterances(tmp_path_factory.mktemp("noisy"), noise=True)


def drawn(dataset, mixing, model=TWO, count=40, seed=0):
    drawer = build_drawer(dataset, mixing, model)
    return [drawer.draw(seed, index) for index in range(count)]


def level_db(samples):
    return measure_db(samples.numpy(), "rms", RATE)


def pitch_hz(samples, rate=RATE):
    spectrum = np.abs(np.fft.rfft(samples.numpy()[0] * np.hanning(samples.shape[-1])))
    return float(spectrum.argmax() * rate / samples.shape[-1])


def test_an_example_is_a_function_of_seed_and_number(speech, noisy):
    mixing = SpeakerMixing(segment_seconds=0.8)
    first = draw_example(speech, mixing, TWO, 1, 5)
    assert first.mixture.shape == (1, 6400)
    assert first.references.shape == (2, 1, 6400)
    assert first.mixture.dtype == first.references.dtype == torch.float32
    assert first.present.tolist() == [True, True]
    torch.testing.assert_close(first.mixture, first.references.sum(0))
    drawer = build_drawer(speech, mixing, TWO)
    others = [drawer.draw(1, 6), drawer.draw(2, 5)]
    assert torch.equal(drawer.draw(1, 5).references, first.references)
    assert not any(torch.equal(other.references, first.references) for other in others)


def test_balanced_levels_are_as_asked(speech):
    levels = BalancedLevels(level_difference_db=5.0, gain_range_db=(0.0, 0.0))
    differences = []
    for example in drawn(speech, SpeakerMixing(segment_seconds=0.8, levels=levels)):
        assert level_db(example.mixture) == pytest.approx(MIXTURE_LEVEL_DB, abs=0.01)
        differences.append(level_db(example.references[0]) - level_db(example.references[1]))
    assert max(map(abs, differences)) <= 5.01
    assert np.ptp(differences) > 5


def test_two_speakers_are_never_the_same(speech):
    mixing = SpeakerMixing(segment_seconds=0.8, speed_range=(1.0, 1.0))
    for example in drawn(speech, mixing):
        first, second = (round((pitch_hz(reference) - 120) / 60) for reference in example.references)
        assert first != second


def test_three_speakers_and_stereo(speech):
    model = spec(("speaker1", "speaker2", "speaker3"), channels=2, exchangeable=True)
    example = draw_example(speech, SpeakerMixing(num_speakers=3, segment_seconds=0.5), model, 0, 0)
    assert example.references.shape == (3, 2, 4000)
    assert torch.equal(example.references[:, 0], example.references[:, 1])


@pytest.mark.parametrize(("rule", "lengths"), [("segment", {9600}), ("min", {8000, 9600}), ("max", {8000, 9600})])
def test_the_length_is_that_of_the_segment_or_of_the_shortest_or_longest_speaker(speech, rule, lengths):
    mixing = SpeakerMixing(segment_seconds=1.2, length=rule, speed_range=(1.0, 1.0))
    examples = drawn(speech, mixing, count=30)
    assert {example.mixture.shape[-1] for example in examples} == lengths
    for example in examples:
        padded = (example.references == 0).sum(dim=-1).squeeze(1) > 100
        assert not (padded.any() if rule == "min" else padded.all() and rule == "max")


def test_chained_levels_have_the_given_mean_and_deviation(speech):
    levels = ChainedLevels(peak=None)
    mixing = SpeakerMixing(segment_seconds=0.8, levels=levels, speed_range=(1.0, 1.0))
    found = np.array(
        [
            [measure_db(reference.numpy(), "mean-amplitude", RATE) for reference in example.references]
            for example in drawn(speech, mixing, count=300)
        ]
    )
    assert found[:, 0].mean() == pytest.approx(-27.43, abs=0.6)
    assert found[:, 0].std() == pytest.approx(2.57, abs=0.5)
    difference = found[:, 1] - found[:, 0]
    assert difference.mean() == pytest.approx(-2.51, abs=0.6)
    assert difference.std() == pytest.approx(2.66, abs=0.5)
    assert found.min() >= -45.01
    for example in drawn(speech, replace(mixing, levels=ChainedLevels()), count=10):
        assert max(example.mixture.abs().max(), example.references.abs().max()) == pytest.approx(0.9, rel=1e-5)


def test_loudness_levels_lie_in_their_range_and_nothing_clips(noisy):
    mixing = SpeakerMixing(segment_seconds=1.0, levels=LoudnessLevels(), noise="noise", length="min")
    for example in drawn(noisy, mixing, count=20):
        assert example.mixture.abs().max() <= 0.9001
        for reference in example.references:
            assert -33.1 <= loudness_lufs(reference.numpy(), RATE) <= -24.9
        noise = example.mixture - example.references.sum(0)
        assert -38.1 <= loudness_lufs(noise.numpy(), RATE) <= -29.9


def test_noise_lies_below_the_speech_as_asked_and_is_no_speaker(noisy):
    levels = BalancedLevels(noise_below_db=(0.0, 15.0))
    below = []
    for example in drawn(noisy, SpeakerMixing(segment_seconds=1.0, levels=levels, noise="noise")):
        speech = example.references.sum(0)
        below.append(level_db(speech) - level_db(example.mixture - speech))
    assert min(below) >= -0.1
    assert max(below) <= 15.1
    assert np.ptp(below) > 8


def test_a_model_may_give_the_noise_too(noisy):
    model = spec(("speaker1", "speaker2", "noise"), channels=1, exchangeable=True)
    example = draw_example(noisy, SpeakerMixing(segment_seconds=1.0, noise="noise"), model, 0, 0)
    torch.testing.assert_close(example.references.sum(0), example.mixture)


def test_speed_moves_pitch_by_its_factor(speech):
    sound = torch.from_numpy(change_speed(np.sin(np.arange(8000) * 0.3)[None].astype(np.float32), 1.05))
    assert sound.shape[-1] == pytest.approx(8000 / 1.05, abs=1)
    assert pitch_hz(sound) == pytest.approx(0.3 / (2 * np.pi) * RATE * 1.05, rel=0.002)
    mixing = SpeakerMixing(segment_seconds=0.9, speed_choices=(0.9, 1.0, 1.1), utterance_weights="equal")
    ratios = set()
    for example in drawn(speech, mixing):
        for reference in example.references:
            pitch = pitch_hz(reference)
            ways = [(base, speed) for base in (120, 180, 240, 300) for speed in mixing.speed_choices]
            ratios.add(min(ways, key=lambda way: abs(pitch / way[0] / way[1] - 1))[1])
    assert ratios == {0.9, 1.0, 1.1}


def test_mixtures_that_are_given_are_utterances_too(tmp_path):
    items = [
        Item(
            f"m{number}",
            {s: (write_clip(tmp_path / s / f"{number}.wav", tone(200, 1.0, 1)),) for s in ("s1", "s2")},
            None,
            {"s1": "anna", "s2": f"b{number}"},
        )
        for number in range(2)
    ]
    drawer = build_drawer(dataset(tmp_path, items, ("s1", "s2"), True), SpeakerMixing(), TWO)
    assert drawer.speakers == ["anna", "b0", "b1"]


def test_a_share_of_the_mixtures_has_noise_and_the_others_are_as_without(noisy):
    def noises(share, model=TWO):
        examples = drawn(noisy, SpeakerMixing(segment_seconds=0.5, noise="noise", noise_share=share), model, count=60)
        return [(example.mixture - example.references[:2].sum(0)).abs().max() > 1e-4 for example in examples]

    assert sum(noises(0.5)) == pytest.approx(30, abs=12)
    assert not any(noises(0.0))
    assert all(noises(1.0))
    with pytest.raises(ConfigError, match="noise_share"):
        SpeakerMixing(noise_share=1.5)
    model = spec(("speaker1", "speaker2", "noise"), channels=1, exchangeable=True)
    example = draw_example(noisy, SpeakerMixing(segment_seconds=0.5, noise="noise", noise_share=0.0), model, 0, 0)
    assert not example.references[2].any()


def test_noise_that_comes_with_mixtures_is_nobody(tmp_path):
    """As WHAM! is read: noise is in every item and none of the data set's sources."""
    clips = {
        name: (write_clip(tmp_path / f"{name}.wav", tone(200, 1.0, 1)),) for name in ("speaker1", "speaker2", "noise")
    }
    data = dataset(tmp_path, [Item("m", clips)], ("speaker1", "speaker2"), True)
    drawer = build_drawer(data, SpeakerMixing(), TWO)
    assert drawer.speakers == ["m/speaker1", "m/speaker2"]
    mixing = SpeakerMixing(segment_seconds=0.5, noise="noise")
    example = draw_example(data, mixing, TWO, 0, 0)
    assert (example.mixture - example.references.sum(0)).abs().max() > 1e-3


def test_what_does_not_go_together_is_refused(speech, tmp_path):
    with pytest.raises(ConfigError, match="num_speakers"):
        SpeakerMixing(num_speakers=1)
    with pytest.raises(ConfigError, match="low to high"):
        SpeakerMixing(speed_range=(1.1, 0.9))
    with pytest.raises(ConfigError, match="3 speakers"):
        build_drawer(speech, SpeakerMixing(), spec(("a", "b", "c"), exchangeable=True))
    with pytest.raises(DataError, match="no source 'noise'"):
        build_drawer(speech, SpeakerMixing(noise="noise"), TWO)
    with pytest.raises(DataError, match="1 speakers"):
        build_drawer(utterances(tmp_path, speakers=1), SpeakerMixing(), TWO)


def test_speakers_are_as_likely_as_they_have_utterances(tmp_path):
    """Speaker 0 has seven utterances at 120 Hz, the other four have one each."""
    items = [
        Item(f"{speaker}/{take}", {"speech": (write_clip(tmp_path / f"{speaker}-{take}.wav", tone(pitch, 1.0, 1)),)},
             None, {"speaker": speaker})
        for speaker, pitch, takes in [("a", 120, 7), *((name, 400, 1) for name in "bcde")]
        for take in range(takes)
    ]  # fmt: skip
    data = dataset(tmp_path, items, ("speech",), True)
    for weights, share in (("equal", 2 / 5), ("utterances", 0.895)):
        mixing = SpeakerMixing(segment_seconds=0.5, speaker_weights=weights, speed_range=(1.0, 1.0))
        found = drawn(data, mixing, count=300)
        with_a = sum(any(pitch_hz(reference) < 200 for reference in example.references) for example in found) / 300
        # With weights 7/11 and 1/11 each, a is first, or second after another: 7/11 + 4/11 * 7/10.
        assert with_a == pytest.approx(share, abs=0.07)


def test_noise_comes_after_speed_and_levels(noisy):
    """The same noise, sample by sample but for its gain, whatever the speed of the speakers."""
    shapes = []
    for speed in (0.95, 1.05):
        mixing = SpeakerMixing(segment_seconds=0.6, speed_choices=(speed,), levels=ChainedLevels(), noise="noise")
        example = draw_example(noisy, mixing, TWO, 3, 4)
        noise = example.mixture - example.references.sum(0)
        shapes.append(noise / noise.abs().max())
    assert torch.allclose(shapes[0], shapes[1], atol=1e-4)


def test_loudness_is_drawn_evenly_over_its_range(speech):
    mixing = SpeakerMixing(segment_seconds=1.0, levels=LoudnessLevels(), speed_choices=(1.0,))
    found = [loudness_lufs(r.numpy(), RATE) for example in drawn(speech, mixing, count=150) for r in example.references]
    assert np.mean(found) == pytest.approx(-29, abs=0.5)
    assert np.std(found) == pytest.approx(8 / 12**0.5, abs=0.3)


def test_a_name_that_stands_for_many_is_drawn_as_often_and_never_twice(speech):
    """As the corpus has `intent`: more than fifty people whom nobody tells apart."""
    label = sorted({item.labels["speaker"] for item in speech.items})[0]
    once = build_drawer(speech, SpeakerMixing(segment_seconds=0.1), TWO)
    mixing = SpeakerMixing(segment_seconds=0.1, speaker_counts={label: 50.0, "nobody of this data": 9.0})
    often = build_drawer(speech, mixing, TWO)
    assert once._probabilities is None
    others = len(often.speakers) - 1
    assert often._probabilities[often.speakers.index(label)] == pytest.approx(50 / (50 + others))
    chosen = []
    draw_speech = often._draw_speech
    often._draw_speech = lambda number, *rest: (chosen.append(often.speakers[number]), draw_speech(number, *rest))[1]
    for index in range(60):
        often.draw(0, index)
    pairs = list(zip(chosen[::2], chosen[1::2], strict=True))
    assert all(one != other for one, other in pairs)
    assert sum(label in pair for pair in pairs) > 50
    with pytest.raises(ConfigError, match="speaker_counts"):
        SpeakerMixing(speaker_counts={label: 0.0})


def test_speakers_may_be_as_likely_as_they_speak(speech):
    drawer = build_drawer(speech, SpeakerMixing(speaker_weights="seconds"), TWO)
    seconds = [
        sum(item.sources["speech"][0].seconds for item in speech.items if item.labels["speaker"] == name)
        for name in drawer.speakers
    ]
    assert np.allclose(drawer._probabilities, np.array(seconds) / sum(seconds))

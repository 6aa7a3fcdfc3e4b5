"""Batches drawn on the device are mixtures as those drawn one by one, and ask the device nothing."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from tests.data.made import RATE, dataset, songs, spec, tone, utterances, write_clip
from unbraid.data.augment.codecs import Codec
from unbraid.data.augment.simple import Polarity
from unbraid.data.items import Item
from unbraid.data.mixing.drawing import GivenMixtures, SpeakerMixing, StemMixing
from unbraid.data.mixing.levels import Level, loudness_lufs
from unbraid.data.mixing.pools import SourceRecording
from unbraid.data.mixing.speaker_levels import MIXTURE_LEVEL_DB, BalancedLevels, LoudnessLevels
from unbraid.data.mixing.stem_mixing import SourceDrawing
from unbraid.data.mixing.turns import Turns
from unbraid.data.resident.drawing import ResidentStream, build_resident_drawer
from unbraid.data.resident.sounds import ResidentSounds
from unbraid.errors import ConfigError

TWO = spec(("speaker1", "speaker2"), channels=1, exchangeable=True)
CPU = torch.device("cpu")


class Asked(TorchDispatchMode):
    """Names of the operators that wait for numbers of the device, or copy some to it."""

    WAITING = ("_local_scalar_dense", "nonzero", "masked_select", "is_nonzero", "lift_fresh")

    def __init__(self):
        super().__init__()
        self.names = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if any(name in str(func) for name in self.WAITING):
            self.names.append(str(func))
        return func(*args, **(kwargs or {}))


@pytest.fixture(scope="module")
def speech(tmp_path_factory):
    return utterances(tmp_path_factory.mktemp("speech"))


@pytest.fixture(scope="module")
def noisy(tmp_path_factory):
    return utterances(tmp_path_factory.mktemp("noisy"), noise=True)


@pytest.fixture(scope="module")
def album(tmp_path_factory):
    return songs(tmp_path_factory.mktemp("album"))


def rms_db(signal):
    return 10 * torch.log10(signal.square().mean(dim=(-2, -1)) + 1e-20)


def pitch_hz(samples, rate=RATE):
    spectrum = np.abs(np.fft.rfft(samples.numpy() * np.hanning(len(samples))))
    return float(spectrum.argmax() * rate / len(samples))


def test_a_stretch_is_what_the_recording_holds_at_any_speed(tmp_path):
    sound = tone(200, 2.0, channels=2)
    sounds = ResidentSounds([SourceRecording((write_clip(tmp_path / "a.wav", sound),))], RATE, 2, CPU)
    number = torch.tensor([0, 0, 0])
    start = torch.tensor([100.0, -50.0, 15_990.0])
    cut = sounds.cut(number, start, 400)
    assert np.allclose(cut[0].numpy(), sound[:, 100:500], atol=1e-4)
    assert not cut[1, :, :50].any()
    assert np.allclose(cut[1, :, 50:].numpy(), sound[:, :350], atol=1e-4)
    assert not cut[2, :, 10:].any()
    # One of speed 1 reads samples as they are, and others read between them: the closed form of a tone.
    speed = torch.tensor([1.0, 1.05, 0.9])
    played = sounds.cut(number, torch.tensor([100.0, 3000.25, 5000.5]), 1000, speed)
    for row, begin in enumerate((100.0, 3000.25, 5000.5)):
        time = (begin + np.arange(1000) * speed[row].item()) / RATE
        expected = 0.1 * (1 + time / 2) * np.sin(2 * np.pi * 200 * time)
        assert np.allclose(played[row, 0].numpy(), expected, atol=2e-3)


def test_a_batch_is_a_function_of_its_numbers_and_a_sum_of_different_speakers(speech):
    mixing = SpeakerMixing(segment_seconds=0.8, speaker_counts={"s1": 50.0}, speed_range=(1.0, 1.0))
    drawer = build_resident_drawer(speech, mixing, TWO, "cpu")
    one, same, other = drawer.draw(64, 1, 5), drawer.draw(64, 1, 5), drawer.draw(64, 1, 6)
    assert all(torch.equal(*pair) for pair in zip(one, same, strict=True))
    assert not torch.equal(one.mixture, other.mixture)
    assert one.mixture.shape == (64, 1, 6400)
    assert one.references.shape == (64, 2, 1, 6400)
    torch.testing.assert_close(one.mixture, one.references.sum(1))
    assert one.present.all()
    pitches = [[round((pitch_hz(source[0]) - 120) / 60) for source in example] for example in one.references]
    assert all(first != second for first, second in pitches)
    # Speaker 1 stands for fifty of fifty-three.
    assert np.mean([1 in pair for pair in pitches]) > 0.9


def test_levels_noise_and_turns_are_as_asked(noisy):
    levels = BalancedLevels(level_difference_db=5.0, gain_range_db=(-3.0, 3.0), noise_below_db=(10.0, 10.0))
    mixing = SpeakerMixing(segment_seconds=0.8, levels=levels, noise="noise")
    batch = build_resident_drawer(noisy, mixing, TWO, "cpu").draw(64, 0, 0)
    difference = rms_db(batch.references[:, 0]) - rms_db(batch.references[:, 1])
    assert difference.abs().max() <= 5.01
    assert difference.std() > 1
    speech, noise = batch.references.sum(1), batch.mixture - batch.references.sum(1)
    assert (rms_db(speech) - MIXTURE_LEVEL_DB).abs().max() < 3.01
    assert torch.allclose(rms_db(speech) - rms_db(noise), torch.full((64,), 10.0), atol=0.05)
    turns = Turns(alone_share=0.4, turns_share=0.6, overlap_seconds=(-0.1, 0.1))
    batch = build_resident_drawer(noisy, replace(mixing, turns=turns, noise=None), TWO, "cpu").draw(200, 0, 0)
    silent = (batch.references.abs().amax(dim=(2, 3)) == 0).sum(dim=1)
    assert set(silent.tolist()) == {0, 1}
    assert 0.3 < (silent == 1).float().mean() < 0.5
    both = (batch.references.abs() > 1e-4).all(dim=1).float().mean(dim=(1, 2))
    assert both.max() < 0.2


def test_stems_are_at_their_levels_and_songs_keep_their_moment(album):
    names = ("drums", "bass", "vocals")
    model = spec(names)
    loud = Level(mean_db=-20.0, spread_db=0.0, measure="lufs")
    mixing = StemMixing(segment_seconds=1.0, drawing=SourceDrawing(level=loud, drop_probability=0.3))
    batch = build_resident_drawer(album, mixing, model, "cpu").draw(32, 0, 0)
    torch.testing.assert_close(batch.mixture, batch.references.sum(1))
    sounding = batch.references.abs().amax(dim=(2, 3)) > 0
    assert sounding.any(dim=1).all()
    assert 0.6 < sounding.float().mean() < 0.85
    for example, there in zip(batch.references[:6], sounding, strict=False):
        for source, is_there in zip(example, there, strict=True):
            if is_there:
                assert loudness_lufs(source.numpy(), RATE) == pytest.approx(-20, abs=0.1)
    kept = StemMixing(
        segment_seconds=1.0,
        drawing=SourceDrawing(level=Level(measure="as-recorded"), drop_probability=0.0),
        coherent_probability=1.0,
    )
    batch = build_resident_drawer(album, kept, model, "cpu").draw(16, 0, 0)
    for example in batch.references:
        hz = [pitch_hz(source[0]) for source in example]
        # Drums 200, bass 400, vocals 600 Hz, and 10 more for every song; the same moment is equally loud.
        assert len({round((found - 200 * (place + 1)) / 10) for place, found in enumerate(hz)}) == 1
        assert rms_db(example).max() - rms_db(example).min() < 0.3


def test_what_a_song_lacks_is_not_present_and_pieces_stand_alone(tmp_path):
    album = songs(tmp_path, missing=[(0, "bass"), (1, "bass"), (2, "bass")])
    names = ("drums", "bass", "vocals")
    short = SourceDrawing(drop_probability=0.0, piece_seconds=(0.1, 0.2), augmentations=(Polarity(probability=0.5),))
    mixing = StemMixing(segment_seconds=1.0, drawing=short, coherent_probability=0.5)
    lone = write_clip(tmp_path / "lone.wav", tone(440, 3.0))
    whole = dataset(tmp_path, [*album.items, Item("lone", {"bass": (lone,)})], names)
    batch = build_resident_drawer(whole, mixing, spec(names), "cpu").draw(64, 0, 0)
    present = batch.present[:, 1]
    assert 0.25 < present.float().mean() < 0.75
    assert batch.present[:, [0, 2]].all()
    covered = (batch.references.abs().amax(dim=2) > 0).float().mean(dim=2)
    assert covered[present].max() < 0.21
    assert not covered[~present][:, 1].any()
    assert covered[~present][:, 0].min() > 0.9


@pytest.mark.parametrize("kind", ["speakers", "stems"])
def test_drawing_asks_the_device_nothing(kind, noisy, album):
    if kind == "speakers":
        turns = Turns(alone_share=0.1, turns_share=0.2)
        drawer = build_resident_drawer(noisy, SpeakerMixing(segment_seconds=0.2, turns=turns), TWO, "cpu")
    else:
        drawing = SourceDrawing(level=Level(measure="lufs"), num_pieces=(1, 2), piece_seconds=(0.1, 0.2))
        mixing = StemMixing(segment_seconds=0.5, drawing=drawing, coherent_probability=0.5, mixture_level=Level())
        drawer = build_resident_drawer(album, mixing, spec(("drums", "bass", "vocals")), "cpu")
    drawer.draw(2, 0, 0)
    with Asked() as asked:
        drawer.draw(2, 0, 1)
    assert asked.names == []


def test_a_stream_goes_on_where_it_stopped(speech):
    drawer = build_resident_drawer(speech, SpeakerMixing(segment_seconds=0.2), TWO, "cpu")
    stream, later = iter(ResidentStream(drawer, 7, 2)), iter(ResidentStream(drawer, 7, 2, start=1))
    first, second = next(stream), next(stream)
    assert torch.equal(second.mixture, next(later).mixture)
    assert not torch.equal(first.mixture, next(iter(ResidentStream(drawer, 7, 2, rank=1))).mixture)


def test_who_reads_a_stream_still_learns(speech):
    drawer = build_resident_drawer(speech, SpeakerMixing(segment_seconds=0.2), TWO, "cpu")
    stream = iter(ResidentStream(drawer, 1, 2))
    batch = next(stream)
    assert torch.is_grad_enabled()
    assert not batch.mixture.requires_grad


def test_what_it_does_not_know_is_a_sentence(speech, album):
    for mixing in (
        SpeakerMixing(levels=LoudnessLevels()),
        SpeakerMixing(length="min"),
        SpeakerMixing(augmentations=(Polarity(),)),
        GivenMixtures(),
    ):
        with pytest.raises(ConfigError, match="resident"):
            build_resident_drawer(speech, mixing, TWO, "cpu")
    for drawing in (SourceDrawing(arrangement="in-turn"), SourceDrawing(augmentations=(Codec(),))):
        with pytest.raises(ConfigError, match="resident"):
            build_resident_drawer(album, StemMixing(drawing=drawing), spec(("drums", "bass", "vocals")), "cpu")

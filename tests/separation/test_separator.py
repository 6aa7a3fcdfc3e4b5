"""The Separator with models whose right answer is known: lengths, rates, layouts, seams, order of speakers, memory."""

import io
from dataclasses import replace

import numpy as np
import pytest
import soundfile
import torch

from tests.conftest import TINY
from unbraid import Recording, Separator, build_model
from unbraid.errors import AudioReadError, ConfigError, DeviceError, UnknownNameError, WeightsError
from unbraid.models.contract import ModelSpec, SeparationModel
from unbraid.separation.config import SeparationConfig
from unbraid.separation.events import Block, Finished, Progress, Started
from unbraid.separation.inference.runner import plan_views


class Shares(SeparationModel):
    """Stems that are fixed shares of the mixture: 0.75 and 0.25; wrong in the outer `wrong` samples of what it gets."""

    def __init__(self, sample_rate=8000, num_channels=1, wrong=0, chunk_seconds=1.0):
        super().__init__()
        self.wrong, self.calls = wrong, []
        self.spec = ModelSpec(
            sample_rate=sample_rate,
            num_channels=num_channels,
            sources=("most", "rest"),
            exchangeable=False,
            chunk_seconds=chunk_seconds,
        )

    def forward(self, mixture):
        self.calls.append(tuple(mixture.shape))
        estimate = torch.stack([0.75 * mixture, 0.25 * mixture], dim=1)
        if self.wrong:
            estimate[..., : self.wrong] = 3
            estimate[..., -self.wrong :] = -3
        return estimate


class Bands(SeparationModel):
    """Two 'speakers' below and above 1 kHz, given in an order that changes from call to call."""

    def __init__(self):
        super().__init__()
        self.count = 0
        self.spec = ModelSpec(
            sample_rate=8000, num_channels=1, sources=("a", "b"), exchangeable=True, chunk_seconds=2.0
        )

    def forward(self, mixture):
        self.count += 1
        spectrum = torch.fft.rfft(mixture)
        edge = round(1000 / 8000 * mixture.shape[-1])
        low = spectrum.clone()
        low[..., edge:] = 0
        low = torch.fft.irfft(low, n=mixture.shape[-1])
        parts = [low, mixture - low]
        return torch.stack(parts if self.count % 3 else parts[::-1], dim=1)


def noise(channels, samples):
    return (np.random.default_rng(0).standard_normal((channels, samples)) * 0.1).astype(np.float32)


@pytest.mark.parametrize("num_samples", [1, 2, 799, 8000, 8001, 20011])
@pytest.mark.parametrize("num_channels", [1, 2, 6, 7])
def test_length_and_channels_come_back_to_the_sample(num_channels, num_samples):
    mixture = noise(num_channels, num_samples)
    stems = Separator(Shares()).separate(mixture, 8000)
    assert list(stems) == ["most", "rest"]
    for share, stem in zip((0.75, 0.25), stems.values(), strict=True):
        assert stem.sample_rate == 8000
        assert np.abs(stem.samples - share * mixture).max() < 1e-6


@pytest.mark.parametrize(("num_channels", "pairs"), [(1, 1), (2, 1), (3, 2), (6, 4), (8, 5)])
def test_a_stereo_model_takes_channels_in_pairs(num_channels, pairs):
    model, mixture = Shares(num_channels=2), noise(num_channels, 9000)
    stems = Separator(model).separate(mixture, 8000)
    assert np.abs(stems["most"].samples - 0.75 * mixture).max() < 1e-6
    assert all(call[:2] == (pairs, 2) for call in model.calls)


def test_equal_channels_go_through_the_model_once():
    model = Shares()
    mixture = np.repeat(noise(1, 9000), 2, axis=0)
    assert np.allclose(Separator(model).separate(mixture, 8000)["most"].samples, 0.75 * mixture, atol=1e-6)
    assert {call[0] for call in model.calls} == {1}


@pytest.mark.parametrize("rate", [1000, 11025, 44100, 48000])
def test_another_rate_comes_back_in_that_rate(rate):
    time = np.arange(3 * rate + 17) / rate
    mixture = (0.3 * np.sin(2 * np.pi * 220 * time)).astype(np.float32)[None]
    stems = Separator(Shares()).separate(mixture, rate)
    assert stems["most"].samples.shape == mixture.shape
    inside = slice(rate // 5, -rate // 5)
    assert np.abs(stems["most"].samples - 0.75 * mixture)[:, inside].max() < 1e-3


def test_what_is_wrong_in_the_outer_50_ms_of_a_chunk_is_not_heard():
    mixture = noise(1, 8000 * 9 + 5)
    estimate = Separator(Shares(wrong=400, chunk_seconds=2.0)).separate(mixture, 8000)["most"].samples
    error = estimate - 0.75 * mixture
    windows = np.lib.stride_tricks.sliding_window_view
    power, wrong = (np.square(windows(x[0], 160)[::40], dtype=np.float64).sum(-1) for x in (mixture, error))
    assert (10 * np.log10(power / np.maximum(wrong, 1e-30))).min() > 100


def test_batches_do_not_change_the_result():
    mixture = noise(2, 50_000)
    one, four = (Separator(Shares(), batch_size=size).separate(mixture, 8000) for size in (1, 4))
    assert np.array_equal(one["most"].samples, four["most"].samples)


@pytest.mark.parametrize("tracking", ["recording", "online"])
def test_speakers_keep_their_place_from_chunk_to_chunk(tracking):
    time = np.arange(8000 * 13) / 8000
    low = np.sin(2 * np.pi * 300 * time) * (0.6 + 0.4 * np.sin(2 * np.pi * 0.7 * time))
    high = np.sin(2 * np.pi * 2200 * time) * (0.6 + 0.4 * np.sin(2 * np.pi * 0.9 * time + 1))
    stems = Separator(Bands(), tracking=tracking).separate((0.1 * (low + high)).astype(np.float32), 8000)
    found = np.stack([stem.samples[0] for stem in stems.values()])
    match = np.abs(np.corrcoef(np.vstack([found, low, high]))[:2, 2:])
    assert match.max(axis=1).min() > 0.99
    assert set(match.argmax(axis=1)) == {0, 1}


def test_stems_add_up_to_the_mixture_when_asked():
    mixture = noise(2, 22050)
    model = build_model("s4m-tiny", **TINY["s4m-tiny"])
    total = sum(s.samples for s in Separator(model, consistency="distribute").separate(mixture, 22050).values())
    assert np.abs(total - mixture).max() < 1e-6
    stems = Separator(model, consistency="residual").separate(mixture, 22050)
    assert list(stems) == ["speaker1", "speaker2", "residual"]
    assert np.abs(sum(stem.samples for stem in stems.values()) - mixture).max() < 1e-6


@pytest.mark.parametrize(
    ("method", "names"), [("add", ["most", "no_most"]), ("minus", ["most", "minus_most"]), ("none", ["most"])]
)
def test_two_stems(method, names):
    mixture = noise(1, 12_000)
    stems = Separator(Shares(), two_stems="most", other_method=method).separate(mixture, 8000)
    assert list(stems) == names
    for name in names[1:]:
        assert np.abs(stems[name].samples - 0.25 * mixture).max() < 1e-6


def test_the_level_of_the_recording_does_not_matter():
    model, mixture = build_model("s4m-tiny", **TINY["s4m-tiny"]), noise(1, 9000)
    loud, soft = (Separator(model).separate(gain * mixture, 16000)["speaker1"].samples for gain in (1.0, 1e-4))
    assert np.abs(1e4 * soft - loud).max() < 1e-3 * np.abs(loud).max()


def test_silence_is_not_asked_for_and_stays_silent():
    model = Shares()
    assert not Separator(model).separate(np.zeros(20_000), 8000)["most"].samples.any()
    assert model.calls == []


def test_shifts_are_seeded_and_average():
    model, mixture = build_model("s4m-tiny", **TINY["s4m-tiny"]), noise(1, 30_000)
    first, second, other = (
        Separator(model, shifts=shifts, seed=seed).separate(mixture, 16000)["speaker1"].samples
        for shifts, seed in ((3, 0), (3, 0), (3, 1))
    )
    assert np.array_equal(first, second)
    assert not np.array_equal(first, other)
    shifted = Separator(Shares(), shifts=4).separate(mixture, 8000)["most"].samples
    assert np.abs(shifted - 0.75 * mixture).max() < 1e-6


class Lopsided(Shares):
    """Errs by what depends on polarity and on the channel."""

    def forward(self, mixture):
        error = mixture.square() * torch.tensor([[1.0], [0.5]])[: mixture.shape[1]]
        return torch.stack([mixture + error, mixture - error], dim=1)


def test_passes_are_upside_down_and_of_stereo_swapped():
    mixture = noise(2, 7000)
    views = plan_views((5, 6, 7, 8), 2)
    assert [(view.upside_down, view.swapped) for view in views[:4]] == [
        (False, False),
        (True, False),
        (False, True),
        (True, True),
    ]
    assert (views[4].upside_down, views[4].swapped) == (False, False)
    assert not any(view.swapped for view in plan_views((5, 6, 7), 1))
    for view in views:
        samples = torch.from_numpy(mixture[None])
        heard = view.hear(samples)
        assert torch.equal(view.undo(torch.stack([heard, heard], dim=1))[:, 0], samples[..., view.shift :])
    once, twice = (
        Separator(Lopsided(num_channels=2), shifts=shifts).separate(mixture, 8000)["most"].samples for shifts in (1, 2)
    )
    # What the polarity decides cancels where both passes hear the mixture: not in the first half second of a chunk.
    assert np.abs(once - mixture).max() > 1e-2
    assert np.abs(twice - mixture)[:, 4000:6000].max() < 1e-6


def test_every_kind_of_input_gives_the_same(tmp_path):
    mixture = noise(2, 9000)
    path = tmp_path / "ein Gespräch.wav"
    soundfile.write(path, mixture.T, 8000, subtype="FLOAT")
    separator = Separator(Shares())
    inputs = [path, str(path), path.read_bytes(), io.BytesIO(path.read_bytes()), Recording(mixture, 8000)]
    expected = separator.separate(mixture, 8000)["most"].samples
    for source in inputs:
        assert np.array_equal(separator.separate(source)["most"].samples, expected)
    assert np.array_equal(separator.separate(torch.from_numpy(mixture), 8000)["most"].samples, expected)


def test_events_come_in_order_and_blocks_without_gaps():
    events = list(Separator(Bands()).stream(noise(1, 60_000), 8000))
    assert isinstance(events[0], Started)
    assert isinstance(events[-1], Finished)
    assert events[0].stems == ("a", "b")
    blocks = [event for event in events if isinstance(event, Block)]
    position = 0
    for block in blocks:
        assert block.start_sample == position
        position += block.samples.shape[-1]
    assert position == events[-1].num_samples == 60_000
    done = [event.done_seconds for event in events if isinstance(event, Progress) and event.stage == "separate"]
    assert done == sorted(done)


def test_stems_come_out_before_the_end_of_the_recording_is_read():
    """Fixed stems stream: memory is that of a chunk."""
    events = Separator(Shares()).stream(noise(1, 8000 * 30), 8000)
    seen = [event.samples.shape[-1] for event in events if isinstance(event, Block)]
    assert len(seen) > 20
    assert max(seen) < 3 * 8000


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("too much"),
        MemoryError(),
        RuntimeError("[enforce fail at alloc_cpu.cpp:127] DefaultCPUAllocator: can't allocate memory"),
    ],
)
def test_out_of_memory_halves_the_batch_and_then_says_what_to_do(error):
    class Small(Shares):
        def forward(self, mixture):
            if mixture.shape[0] > self.limit:
                raise self.error
            return super().forward(mixture)

    model, mixture = Small(), noise(4, 20_000)
    model.limit, model.error = 1, error
    assert np.allclose(
        Separator(model, batch_size=4).separate(mixture, 8000)["most"].samples, 0.75 * mixture, atol=1e-6
    )
    model.limit = 0
    with pytest.raises(DeviceError, match="`segment_seconds`"):
        Separator(model).separate(mixture, 8000)
    model.error = RuntimeError("a defect")
    with pytest.raises(RuntimeError, match="a defect"):
        Separator(model).separate(mixture, 8000)


@pytest.mark.parametrize(
    ("settings", "error"),
    [
        ({"overlap": 0.96}, ConfigError),
        ({"segment_seconds": 0.01}, ConfigError),
        ({"shifts": 0}, ConfigError),
        ({"two_stems": "vocals"}, UnknownNameError),
        ({"batch_size": -1}, ConfigError),
        ({"segment_seconds": float("nan")}, ConfigError),
        ({"segment_seconds": float("inf")}, ConfigError),
        ({"segment_seconds": "whole", "overlap": 0.25}, ConfigError),
        ({"seed": -1}, ConfigError),
        ({"segments": 3.0}, ConfigError),
        ({"config": SeparationConfig(), "shifts": 2}, ConfigError),
        ({"device": "cuda:99"}, DeviceError),
        ({"device": "toaster"}, DeviceError),
    ],
)
def test_settings_out_of_range_are_refused(settings, error):
    with pytest.raises(error):
        Separator(Shares(), **settings)


def test_a_name_that_no_file_can_have_is_refused():
    with pytest.raises(WeightsError, match=r"'x{40}\.\.\.' is no name of a model"):
        Separator("x" * 5000)


def test_inputs_that_make_no_sense_are_refused():
    separator = Separator(Shares())
    with pytest.raises(ConfigError, match="rate"):
        separator.separate(noise(1, 100))
    with pytest.raises(AudioReadError, match="no samples"):
        separator.separate(np.zeros((1, 0)), 8000)
    with pytest.raises(AudioReadError, match="NaN"):
        separator.separate(np.array([0.0, np.nan]), 8000)
    for samples in (
        [[0.1, 0.2], [0.3]],
        np.zeros((2, 3, 4)),
        np.zeros((8000, 2)),
        1j * np.ones((1, 9)),
    ):
        with pytest.raises(ConfigError, match="give"):
            separator.separate(samples, 8000)
    half = torch.full((1, 4000), 0.5, dtype=torch.bfloat16)
    assert np.allclose(separator.separate(half, 8000)["most"].samples, 0.375, atol=1e-6)


@pytest.mark.parametrize("wrap", [lambda samples: samples, lambda samples: Recording(samples, 8000)])
def test_samples_that_are_not_numbers_become_silence_when_asked(wrap):
    """NaN and both infinities are mended to zero, in arrays as in recordings; neighbours stay."""
    samples = np.full((1, 4000), 0.1, np.float32)
    samples[0, [100, 200, 300]] = np.nan, np.inf, -np.inf
    source = wrap(samples)
    rate = None if isinstance(source, Recording) else 8000
    stem = Separator(Shares(), replace_nonfinite=True).separate(source, rate)["most"].samples
    expected = np.where(np.isfinite(samples), 0.075, 0)
    assert np.abs(stem - expected).max() < 1e-6
    with pytest.raises(AudioReadError, match="NaN, infinite"):
        Separator(Shares()).separate(source, rate)


def test_a_whole_recording_is_one_call_of_the_model():
    model, mixture = Shares(), noise(1, 8000 * 5 + 3)
    separator = Separator(model, segment_seconds="whole")
    assert np.abs(separator.separate(mixture, 8000)["most"].samples - 0.75 * mixture).max() < 1e-6
    assert model.calls == [(1, 1, 8000 * 5 + 3)]
    model.forward = lambda mixture: mixture.unsqueeze(1).expand(-1, 5, -1, -1)
    with pytest.raises(ConfigError, match="promises"):
        separator.separate(mixture, 8000)


def test_speakers_beyond_what_can_be_tracked_are_taken_whole():
    model = Bands()
    model.spec = replace(model.spec, sample_rate=2000)
    mixture = noise(1, 3000)
    assert len(Separator(model, segment_seconds="whole").separate(mixture, 2000)) == 2
    with pytest.raises(ConfigError, match="4000 Hz"):
        Separator(model).separate(mixture, 2000)


class Peek(Shares):
    """Keeps what it is given."""

    def __init__(self, level, num_channels=1):
        super().__init__(num_channels=num_channels)
        self.spec = replace(self.spec, level=level)
        self.seen = []

    def forward(self, mixture):
        self.seen.append(mixture.clone())
        return super().forward(mixture)


def test_a_model_gets_the_level_that_its_spec_wants():
    mixture = 0.3 + noise(1, 8000 * 4)
    mixture[:, 16_000:] *= 0.1
    normalised, given, whole = (Peek(level) for level in ("normalised", "as-given", "whole-file"))
    for model in (normalised, given, whole):
        stem = Separator(model).separate(mixture, 8000)["most"].samples
        # The mean that a whole file is rid of comes back with every stem.
        back = 0.25 * mixture.mean() if model is whole else 0
        assert np.abs(stem - 0.75 * mixture - back).max() < 1e-5
    for chunk in normalised.seen:
        assert 20 * np.log10(float(chunk.square().mean().sqrt())) == pytest.approx(-25, abs=1e-3)
    first = given.seen[0][0, 0]
    edge = Separator(given).plan.edge
    assert np.array_equal(first[edge:].numpy(), mixture[0, : len(first) - edge])
    scaled = (mixture[0] - mixture.mean(dtype=np.float64)) / mixture.std(dtype=np.float64, ddof=1)
    assert np.abs(whole.seen[0][0, 0, edge:].numpy() - scaled[: len(first) - edge]).max() < 1e-4


def test_a_file_has_the_level_of_the_channels_that_are_heard_together():
    """At another rate and in six channels, where each group is to the model a file of its own."""
    mixture = noise(6, 16_000 * 3) * np.array([[1, 1, 4, 1, 0.5, 0.5]], np.float32).T
    model = Peek("whole-file", num_channels=2)
    Separator(model).separate(mixture, 16_000)
    heard = torch.stack([chunk[2] for chunk in model.seen if len(chunk) == 4 and chunk.shape[-1] == 8000])
    assert float(heard.std()) == pytest.approx(1, abs=0.01)  # the low frequencies, in mono
    assert not Separator(model).separate(np.zeros((1, 9000)), 8000)["most"].samples.any()


def test_a_model_of_the_caller_stays_in_its_mode():
    model = build_model("s4m-tiny", **TINY["s4m-tiny"]).train()
    part = next(module for module in model.modules() if module is not model).eval()
    mixture = noise(1, 9000)
    first = Separator(model, device="cpu").separate(mixture, 16_000)["speaker1"].samples
    assert model.training
    assert not part.training
    model.eval()
    assert np.array_equal(first, Separator(model, device="cpu").separate(mixture, 16_000)["speaker1"].samples)


def test_a_model_of_the_caller_stays_on_its_device():
    model = build_model("s4m-tiny", **TINY["s4m-tiny"]).to("meta")
    separator = Separator.__new__(Separator)
    with pytest.raises(NotImplementedError):  # a copy without values cannot be made on another device
        separator.__init__(model, device="cpu")
    assert {parameter.device.type for parameter in model.parameters()} == {"meta"}
    here = build_model("s4m-tiny", **TINY["s4m-tiny"])
    assert Separator(here, device="cpu").model is here


def test_chunks_can_be_averaged_as_papers_do():
    separator = Separator(Shares(), join="average")
    assert separator.plan.overlap == separator.plan.chunk // 2
    mixture = np.random.default_rng(0).standard_normal((1, 19_001)).astype(np.float32)
    separation = separator.separate(mixture, 8000)
    assert np.allclose(separation["most"].samples, 0.75 * mixture, atol=1e-5)
    assert {call[-1] for call in separator.model.calls} == {8000}


@pytest.mark.parametrize("channels", [1, 2])
def test_refined_estimates_add_up_to_the_recording_over_all_seams(channels):
    class Quiet(Shares):
        def forward(self, mixture):
            self.calls.append(tuple(mixture.shape))
            return torch.stack([0.3 * mixture, 0.1 * mixture.roll(3, dims=-1)], dim=1)

    samples = np.random.default_rng(0).normal(0, 0.1, (channels, 41_000)).astype(np.float32)
    model = Quiet(num_channels=channels)
    stems = Separator(model, refine="wiener").separate(samples, 8000)
    np.testing.assert_allclose(sum(stem.samples for stem in stems.values()), samples, atol=2e-5)
    as_they_are = Separator(model, refine="none").separate(samples, 8000)
    assert np.abs(sum(stem.samples for stem in as_they_are.values()) - samples).max() > 0.1


def test_the_spec_says_whether_estimates_are_refined_and_the_caller_has_the_last_word():
    model = Shares()
    assert Separator(model).config.refine == "none"
    model.spec = replace(model.spec, refine="wiener", refine_from_hz=500.0)
    advised = Separator(model).config
    assert (advised.refine, advised.refine_from_hz) == ("wiener", 500.0)
    assert Separator(model, refine="none").config.refine == "none"

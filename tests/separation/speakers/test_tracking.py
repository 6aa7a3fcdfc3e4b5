import math
import random

import pytest
import torch
from torch import Tensor

from unbraid.errors import ConfigError
from unbraid.separation.speakers.online import OnlineTracker
from unbraid.separation.speakers.ordering import align, all_orders, best_chain, chain_marginals, composition
from unbraid.separation.speakers.tracking import RecordingTracker

RATE = 8000
CHUNK, OVERLAP = 4 * RATE, RATE
HOP = CHUNK - OVERLAP
# Pitch in Hz and the formants of three vowels for each speaker; the first two share their pitch.
VOICES = [
    (118.0, [(700, 1220, 2600), (400, 2000, 2550), (310, 870, 2250)]),
    (122.0, [(860, 1500, 2950), (500, 2400, 3050), (370, 1050, 2750)]),
    (215.0, [(780, 1350, 2800), (430, 2300, 2900), (350, 950, 2600)]),
]


def speak(speaker: int, seconds: float, seed: int, rate: int = RATE) -> Tensor:
    """Pulses of a gliding pitch through the formants of vowels that change five times a second."""
    draw = random.Random(seed)
    pitch, vowels = VOICES[speaker]
    noise = torch.Generator().manual_seed(seed)
    parts = []
    for _ in range(math.ceil(seconds * 5)):
        size = rate // 5
        hz = pitch * draw.uniform(0.9, 1.1)
        phase = (torch.arange(size) * hz / rate).floor()
        pulses = torch.diff(phase, prepend=torch.tensor([-1.0])) + 0.02 * torch.randn(size, generator=noise)
        frequency = torch.arange(size // 2 + 1) * rate / size
        response = sum(
            gain / (1 + ((frequency - formant * draw.uniform(0.97, 1.03)) / 90).square())
            for gain, formant in zip((1.0, 0.6, 0.3), draw.choice(vowels), strict=True)
        )
        parts.append(torch.fft.irfft(torch.fft.rfft(pulses) * response, size) * draw.uniform(0.5, 1.0))
    voice = torch.cat(parts)[: int(seconds * rate)]
    return 0.1 * voice / voice.square().mean().sqrt()


def build_talk(turns: list[tuple[float, float, int]], seconds: float, sources: int, rate: int = RATE) -> Tensor:
    """References from (start, seconds, speaker)."""
    references = torch.zeros(sources, int(seconds * rate))
    for number, (start, length, speaker) in enumerate(turns):
        begin = int(start * rate)
        part = speak(speaker, length, number, rate)[: references.shape[1] - begin]
        references[speaker, begin : begin + len(part)] += part
    return references


def long_talk(sources: int, seed: int, rate: int = RATE) -> Tensor:
    """About two minutes: turns, some overlapped, and pauses of six seconds after every few turns."""
    draw, turns, now = random.Random(seed), [], 1.0
    for number in range(24):
        length = draw.uniform(2, 6)
        turns.append((now, length, draw.randrange(sources) if number >= sources else number))
        now += length + (7.0 if number % 4 == 3 else draw.uniform(-1.0, 0.5))
    return build_talk(turns, now, sources, rate)


def cut(references: Tensor, seed: int, gains: list[list[float]] | None = None, leak: float = 0.0, rate: int = RATE):
    """Pieces (chunk, channel, start, estimate, right order) in random orders; right[s] is where speaker s lies."""
    draw, noise = random.Random(seed), torch.Generator().manual_seed(seed)
    chunk, hop = CHUNK * rate // RATE, HOP * rate // RATE
    sources = len(references)
    for index, start in enumerate(range(0, references.shape[1], hop)):
        for channel, gain in enumerate(gains or [[1.0] * sources]):
            part = references[:, start : start + chunk] * torch.tensor(gain)[:, None]
            estimate = (1 - leak) * part + leak * part.sum(0) + 0.001 * torch.randn(part.shape, generator=noise)
            places = list(range(sources))
            draw.shuffle(places)
            yield index, channel, start, estimate[places], tuple(places.index(speaker) for speaker in range(sources))


@pytest.fixture(autouse=True)
def one_thread():
    """Many small steps: a second thread only waits, and for long on a busy machine."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def heard(estimate: Tensor) -> bool:
    """Whether it holds half a second of speech; a whole chunk of what leaks in at -10 dB does not count."""
    return bool(estimate.square().sum() > 0.01 * 0.12 * CHUNK)


@pytest.mark.parametrize(("sources", "rate", "leak"), [(2, 8000, 0.0), (2, 16000, 0.0), (2, 8000, 0.3), (3, 8000, 0.1)])
def test_every_speaker_keeps_a_slot_across_pauses(sources, rate, leak):
    tracker = RecordingTracker(sources, rate, OVERLAP * rate // RATE)
    truth = {}
    for chunk, channel, start, estimate, right in cut(long_talk(sources, 3, rate), 5, leak=leak, rate=rate):
        tracker.observe(chunk, channel, start, estimate)
        truth[chunk, channel] = [(slot, take) for slot, take in enumerate(right) if heard(estimate[take])]
    found = tracker.solve()
    for piece, places in truth.items():
        assert [(slot, found.orders[piece][slot]) for slot, _ in places] == places
    assert found.uncertain_joins == 0
    assert min(found.confidence.values()) > 0.5
    assert max(found.confidence.values()) <= 1.0
    assert tracker.solve() == found


def test_online_orders_agree_with_the_truth():
    tracker = OnlineTracker(2, RATE, OVERLAP)
    for chunk, channel, start, estimate, right in cut(long_talk(2, 3), 5):
        order, confidence = tracker.track(chunk, channel, start, estimate)
        assert 0.9 < confidence <= 1.0
        if heard(estimate):
            assert order == right


@pytest.mark.parametrize(
    "gains", [[[1.0, 0.3], [0.3, 1.0]], [[1.0, 0.02], [0.02, 1.0]], [[1, 1], [0.7, 0.2], [0.02, 0.1]]]
)
def test_channels_share_their_speakers(gains):
    tracker, online = RecordingTracker(2, RATE, OVERLAP), OnlineTracker(2, RATE, OVERLAP)
    truth, decided = {}, {}
    for chunk, channel, start, estimate, right in cut(long_talk(2, 4), 6, gains, leak=0.1):
        tracker.observe(chunk, channel, start, estimate)
        decided[chunk, channel] = online.track(chunk, channel, start, estimate)[0]
        if heard(estimate):
            truth[chunk, channel] = right
    orders = tracker.solve().orders
    assert {piece: orders[piece] for piece in truth} == truth
    assert sum(decided[piece] != right for piece, right in truth.items()) <= 1


def test_speaker_one_is_heard_first():
    for first in (0, 1):
        references = build_talk([(1, 5, first), (7, 5, 1 - first), (20, 5, first)], 27, 2)
        tracker = RecordingTracker(2, RATE, OVERLAP)
        for chunk, channel, start, estimate, right in cut(references, first):
            tracker.observe(chunk, channel, start, estimate)
            if chunk == 0:
                expected = right if first == 0 else right[::-1]
        assert tracker.solve().orders[0, 0] == expected


@pytest.mark.parametrize("leak", [0.0, 0.1])
def test_how_long_each_speaker_is_heard(leak):
    references = build_talk([(1, 5, 1), (7, 3, 0), (12, 5, 1)], 20, 2)
    tracker, online = RecordingTracker(2, RATE, OVERLAP), OnlineTracker(2, RATE, OVERLAP)
    assert online.heard_seconds == (0.0, 0.0)
    for chunk, channel, start, estimate, _ in cut(references, 2, [[1.0, 1.0], [0.5, 1.0]], leak):
        tracker.observe(chunk, channel, start, estimate)
        online.track(chunk, channel, start, estimate)
    # Chunks overlap and channels hold the same people, but nothing counts twice.
    assert tracker.solve().heard_seconds == pytest.approx((10.0, 3.0), abs=0.75)
    assert online.heard_seconds == pytest.approx((10.0, 3.0), abs=0.75)


def test_one_voice_in_both_slots_is_reported_as_uncertain():
    tracker = RecordingTracker(2, RATE, OVERLAP)
    voice = speak(0, 4, 1)
    for chunk in range(4):
        # No overlap, and both slots hold the same: nothing tells the orders apart.
        tracker.observe(chunk, 0, chunk * 2 * CHUNK, torch.stack([voice, voice]))
    found = tracker.solve()
    assert found.uncertain_joins == 3
    assert max(found.confidence.values()) < 0.9


def test_silence_keeps_the_order_and_is_sure():
    tracker = RecordingTracker(3, RATE, OVERLAP)
    assert tracker.solve().orders == {}
    for chunk in range(5):
        tracker.observe(chunk, 0, chunk * HOP, torch.zeros(3, CHUNK))
    found = tracker.solve()
    assert set(found.orders.values()) == {(0, 1, 2)}
    assert set(found.confidence.values()) == {1.0}
    assert found.uncertain_joins == 0
    assert found.heard_seconds == (0.0, 0.0, 0.0)


def test_short_and_missing_pieces_are_taken():
    tracker = RecordingTracker(2, RATE, OVERLAP)
    for chunk, channel, size in [(0, 0, 1), (0, 1, 100), (2, 1, CHUNK), (3, 0, 7)]:
        tracker.observe(chunk, channel, chunk * HOP, torch.randn(2, size))
    assert len(tracker.solve().orders) == 4


def test_memory_of_three_hours_is_small():
    tracker = RecordingTracker(2, RATE, OVERLAP)
    voice = torch.stack([speak(0, 4, 1), speak(1, 4, 2)])
    for chunk in range(3):
        tracker.observe(chunk, 0, chunk * HOP, voice)
    piece = tracker._pieces[1, 0]
    kept = [piece.blocks, piece.match, piece.voices.count, piece.voices.total, piece.voices.scatter, piece.voices.pitch]
    assert sum(values.untyped_storage().nbytes() for values in kept) * 1800 < 6e6
    assert tracker._meter._tails[0][1].untyped_storage().nbytes() == 2 * OVERLAP * 4


def test_wrong_use_is_refused():
    tracker = RecordingTracker(2, RATE, OVERLAP)
    tracker.observe(1, 0, 0, torch.zeros(2, 100))
    for chunk, channel in [(0, 0), (1, 0)]:
        with pytest.raises(ConfigError, match="order of time"):
            tracker.observe(chunk, channel, 0, torch.zeros(2, 100))
    with pytest.raises(ConfigError, match="3 estimates"):
        tracker.observe(2, 0, 0, torch.zeros(3, 100))
    online = OnlineTracker(2, RATE, OVERLAP)
    online.track(0, 1, 0, torch.zeros(2, 100))
    with pytest.raises(ConfigError, match="twice"):
        online.track(0, 1, 0, torch.zeros(2, 100))
    with pytest.raises(ConfigError, match="2 to 4"):
        RecordingTracker(5, RATE, OVERLAP)
    with pytest.raises(ConfigError, match="4000 Hz"):
        RecordingTracker(2, 2000, OVERLAP)


def test_align_undoes_any_permutation():
    reference = torch.randn(4, 2, 300)
    for order in all_orders(4):
        estimate = reference[order] + 0.3 * torch.randn(4, 2, 300)
        torch.testing.assert_close(order[list(align(estimate, reference))], torch.arange(4))
    assert align(torch.zeros(3, 10), torch.randn(3, 10)) == (0, 1, 2)


def test_chains_agree_with_trying_all():
    generator = torch.Generator().manual_seed(0)
    unary, pair = torch.randn(4, 2, generator=generator), torch.randn(4, 2, 2, generator=generator)
    paths = torch.cartesian_prod(*[torch.arange(2)] * 4)
    steps = torch.arange(1, 4)
    scores = unary[torch.arange(4), paths].sum(1) + pair[steps, paths[:, :-1], paths[:, 1:]].sum(1)
    chain, score = best_chain(unary, pair)
    assert chain.tolist() == paths[scores.argmax()].tolist()
    assert score == pytest.approx(float(scores.max()))
    weights = scores.softmax(0)
    single, double = chain_marginals(unary, pair)
    assert float(single[2, 1]) == pytest.approx(float(weights[paths[:, 2] == 1].sum()), abs=1e-5)
    both = (paths[:, 1] == 1) & (paths[:, 2] == 0)
    assert float(double[2, 1, 0]) == pytest.approx(float(weights[both].sum()), abs=1e-5)


def test_composition_applies_the_second_order_to_the_first():
    orders = all_orders(3)
    after = composition(orders)
    values = torch.tensor([10, 20, 30])
    for p in range(6):
        for q in range(6):
            torch.testing.assert_close(values[orders[after[p, q]]], values[orders[p]][orders[q]])

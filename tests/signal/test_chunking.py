"""Cutting and joining leaves a signal as it is, and nothing that is wrong at a chunk's edge gets into the result."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from unbraid.errors import ConfigError
from unbraid.signal.chunking import ChunkCutter, ChunkPlan, OverlapAdder, cut, mirror, overlap_add, plan_chunks


@given(
    num_samples=st.integers(1, 700),
    chunk=st.integers(8, 200),
    overlap=st.floats(0, 0.95),
    edge=st.integers(0, 30),
    join=st.sampled_from(["fade", "average", "centre"]),
    block=st.integers(1, 300),
)
@settings(max_examples=300, deadline=None)
def test_joining_what_was_cut_gives_the_signal_back_whatever_the_blocks(num_samples, chunk, overlap, edge, join, block):
    plan = plan_chunks(chunk, overlap, edge, join=join)
    signal = torch.randn(2, num_samples, dtype=torch.float64)
    cutter = ChunkCutter(plan)
    chunks = [piece for part in signal.split(block, dim=-1) for piece in cutter.push(part)] + cutter.finish()
    assert torch.allclose(overlap_add(chunks, plan)[:, :num_samples], signal, atol=1e-12)
    assert [piece.index for piece in chunks] == list(range(plan.num_chunks(num_samples)))
    assert [piece.is_last for piece in chunks] == [False] * (len(chunks) - 1) + [True]
    for piece in chunks:
        assert piece.samples.shape[-1] <= plan.chunk
        begin, end = max(piece.start, 0), min(piece.start + piece.samples.shape[-1], num_samples)
        inside = piece.samples[:, begin - piece.start : end - piece.start]
        assert torch.equal(inside, signal[:, begin:end])


@pytest.mark.parametrize("overlap", [0.25, 0.5, 0.6, 0.75, 0.95])
def test_what_is_wrong_in_the_outer_50_ms_of_each_chunk_does_not_reach_the_result(overlap):
    rate, wrong = 16_000, 800
    plan = plan_chunks(2 * rate, overlap, rate // 10)
    signal = torch.randn(1, 9 * rate + 123)
    chunks = cut(signal, plan)
    assert len(chunks) > 4
    for piece in chunks:
        piece.samples[:, :wrong] = 7
        piece.samples[:, -wrong:] = -7
    error = overlap_add(chunks, plan) - signal
    windows = (signal[0].unfold(0, 320, 80), error[0].unfold(0, 320, 80))
    power, noise = (part.double().square().sum(-1) for part in windows)
    assert (10 * torch.log10(power / noise.clamp_min(1e-30))).min() > 100


def test_an_empty_signal_has_no_chunks():
    assert cut(torch.zeros(1, 0), plan_chunks(100, 0.25, 5)) == []


def test_a_signal_of_one_sample_is_padded_with_silence():
    assert mirror(torch.ones(1, 1), 2, 2).tolist() == [[0, 0, 1, 0, 0]]


@pytest.mark.parametrize("overlap", [-0.1, 0.96])
def test_an_overlap_out_of_range_is_refused(overlap):
    with pytest.raises(ConfigError, match=r"0 to 0\.95"):
        plan_chunks(100, overlap, 5)


def test_the_plan_counts_its_parts():
    plan = ChunkPlan(chunk=100, overlap=30, edge=4)
    assert (plan.hop, plan.context, plan.fade) == (70, 10, 10)
    dense = ChunkPlan(chunk=120, overlap=90, edge=4)
    assert (dense.hop, dense.context, dense.fade) == (30, 20, 40)


@given(chunk=st.integers(8, 200), overlap=st.floats(0, 0.95), num_samples=st.integers(1, 900))
@settings(max_examples=200, deadline=None)
def test_every_sample_is_the_mean_of_the_chunks_that_have_it_by_their_weights(chunk, overlap, num_samples):
    """Written out over the whole signal at once: sum of weighted chunks over sum of weights."""
    plan = plan_chunks(chunk, overlap, 5)
    chunks = cut(torch.randn(1, num_samples, dtype=torch.float64), plan)
    total, weight = torch.zeros(2, num_samples + 2 * plan.edge, dtype=torch.float64)
    rise = torch.sin(torch.pi / 2 * (torch.arange(plan.fade, dtype=torch.float64) + 0.5) / max(plan.fade, 1)) ** 2
    still = torch.zeros(plan.context, dtype=torch.float64)
    for piece in chunks:
        piece.samples.mul_(1 + piece.index)
        window, fade = torch.ones(piece.samples.shape[-1], dtype=torch.float64), torch.cat([still, rise])
        if piece.index:
            window[: len(fade)] *= fade
        if not piece.is_last:
            window[len(window) - len(fade) :] *= fade.flip(0)
        place = slice(piece.start + plan.edge, piece.start + plan.edge + len(window))
        total[place] += piece.samples[0] * window
        weight[place] += window
    expected = (total / weight)[plan.edge : plan.edge + num_samples]
    assert torch.allclose(overlap_add(chunks, plan)[0], expected, rtol=1e-9)


@given(num_samples=st.integers(1, 700), half=st.integers(4, 100), block=st.integers(1, 300))
@settings(max_examples=200, deadline=None)
def test_averaged_chunks_are_the_plain_mean_of_what_overlaps(num_samples, half, block):
    plan = plan_chunks(2 * half, 0.5, 10, join="average")
    signal = torch.randn(1, num_samples, dtype=torch.float64)
    cutter = ChunkCutter(plan)
    chunks = [piece for part in signal.split(block, dim=-1) for piece in cutter.push(part)] + cutter.finish()
    assert {piece.samples.shape[-1] for piece in chunks} == {2 * half}
    # What a model would do: something else in every chunk.
    processed = [piece.samples * (1 + piece.index) for piece in chunks]
    total, count = torch.zeros(1, len(chunks) * half + half), torch.zeros(len(chunks) * half + half)
    for index, piece in enumerate(processed):
        total[:, index * half : index * half + 2 * half] += piece
        count[index * half : index * half + 2 * half] += 1
    adder = OverlapAdder(plan)
    joined = torch.cat([adder.push(piece, index == len(chunks) - 1) for index, piece in enumerate(processed)], dim=-1)
    assert torch.allclose(joined[:, :num_samples].float(), (total / count)[:, :num_samples], atol=1e-5)


@given(num_samples=st.integers(1, 700), half=st.integers(4, 100), block=st.integers(1, 300))
@settings(max_examples=200, deadline=None)
def test_of_centred_chunks_each_gives_its_central_half(num_samples, half, block):
    plan = plan_chunks(2 * half, 0.5, 10, join="centre")
    signal = torch.randn(1, num_samples, dtype=torch.float64)
    cutter = ChunkCutter(plan)
    chunks = [piece for part in signal.split(block, dim=-1) for piece in cutter.push(part)] + cutter.finish()
    adder = OverlapAdder(plan)
    marked = [torch.full_like(piece.samples, piece.index) for piece in chunks]
    joined = torch.cat([adder.push(piece, index == len(chunks) - 1) for index, piece in enumerate(marked)], dim=-1)
    shared = plan.overlap
    expected = [min(max((sample - shared // 2) // plan.hop, 0), len(chunks) - 1) for sample in range(joined.shape[-1])]
    assert joined[0].tolist() == expected
    assert torch.equal(overlap_add(chunks, plan)[:, :num_samples], signal)

"""BSS eval v4 against museval, with its silences, lengths and channels; and where museval raises."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from unbraid.errors import ConfigError, SignalError
from unbraid.metrics.framewise import framewise_bss_eval, framewise_sdr

NAMES = ("sdr", "isr", "sir", "sar")


def reference_scores(museval, estimate, reference, window, hop=None):
    scores = museval.bss_eval(reference.mT.numpy(), estimate.mT.numpy(), window=window, hop=hop or window)[:4]
    return dict(zip(NAMES, map(torch.from_numpy, scores), strict=True))


def agree(found, theirs, tolerance):
    assert found.shape == theirs.shape
    assert torch.equal(found.isnan(), theirs.isnan())
    return torch.allclose(found, theirs.to(found), atol=tolerance, rtol=0, equal_nan=True)


def test_it_equals_the_stored_output_of_museval(golden):
    """Three stereo sources; a silent frame, a frame in antiphase, and a last part of a second."""
    file = golden("metrics_museval_a")
    estimate, reference = file["estimates"].mT, file["references"].mT
    found = framewise_bss_eval(estimate, reference, window=4000)
    assert agree(found.sdr, file["joint_sdr"], 1e-4)
    for name in ("isr", "sir", "sar"):
        assert agree(getattr(found, name), file[f"joint_{name}"], 1e-4), name
    assert agree(framewise_sdr(estimate, reference, window=4000), file["joint_sdr"], 1e-4)
    assert agree(framewise_sdr(estimate, reference, window=4000, joint=False), file["single_sdr"], 1e-4)


@pytest.mark.parametrize(
    ("num_sources", "num_channels", "num_samples", "window", "hop"),
    [(2, 2, 5000, 1000, 1000), (1, 2, 2500, 1000, 1000), (3, 1, 4100, 1000, 750), (2, 1, 900, 1000, 1000)],
)
def test_it_equals_museval(museval, make_stems, num_sources, num_channels, num_samples, window, hop):
    """Mono and stereo, one source and several, overlapping windows, and less than a window."""
    estimate, reference = make_stems(num_sources, num_channels, num_samples)
    theirs = reference_scores(museval, estimate, reference, window, hop)
    found = framewise_bss_eval(estimate, reference, window, hop)
    for name in NAMES:
        if name == "sir" and num_sources == 1:
            assert (found.sir > 200).all()
            assert (theirs["sir"] > 200).all()
        else:
            assert agree(getattr(found, name), theirs[name], 1e-4), name


def test_silences_of_all_kinds_equal_museval(museval, make_stems):
    estimate, reference = make_stems(num_samples=6500)
    reference[0, :, 1000:2000] = 0
    reference[1, 0, 2000:3000] = -reference[1, 1, 2000:3000]
    estimate[1, :, 3000:4000] = 0
    reference[0, :, 4000:4999] = 0  # all but one sample is not silence
    theirs = reference_scores(museval, estimate, reference, 1000)
    found = framewise_bss_eval(estimate, reference, 1000)
    assert found.sdr.isnan().any(0).tolist() == [False, True, True, True, False, False]
    for name in NAMES:
        assert agree(getattr(found, name), theirs[name], 1e-4), name
    alone = framewise_sdr(estimate, reference, 1000, joint=False)
    for source in range(2):
        part = slice(source, source + 1)
        assert agree(alone[part], reference_scores(museval, estimate[part], reference[part], 1000)["sdr"], 1e-9)


def test_a_silent_or_repeated_channel_equals_museval(museval, make_stems):
    """Hard-panned and mono stems in a stereo file leave the filters undetermined, the projections not."""
    estimate, reference = make_stems(num_samples=4000)
    reference[0, 1] = 0
    theirs = reference_scores(museval, estimate, reference, 1000)
    found = framewise_bss_eval(estimate, reference, 1000)
    assert all(agree(getattr(found, name), theirs[name], 1e-4) for name in NAMES)
    reference[0, 1] = reference[0, 0]
    mono = framewise_bss_eval(estimate, reference, 1000)
    loaded = framewise_bss_eval(estimate, reference, 1000, loading=1e-9)
    assert all(torch.allclose(a, b, atol=1e-4) for a, b in zip(mono, loaded, strict=True))


@pytest.mark.parametrize("given", [4600, 3300])
def test_other_lengths_are_cut_or_filled_as_museval_does(museval, make_stems, given):
    estimate, reference = make_stems(num_samples=4000)
    other = torch.nn.functional.pad(estimate, (0, given - 4000), value=0.3)
    same = np.zeros((2, 2, 4000))
    same[..., : min(given, 4000)] = other[..., :4000].numpy()
    theirs = reference_scores(museval, torch.from_numpy(same), reference, 1000)
    found = framewise_bss_eval(other, reference, 1000)
    assert all(agree(getattr(found, name), theirs[name], 1e-4) for name in NAMES)
    assert torch.equal(framewise_sdr(other, reference, 1000).isnan(), found.sdr.isnan())


def test_what_makes_museval_raise_gives_nan(make_stems):
    estimate, reference = make_stems(num_samples=3000)
    silent = torch.zeros_like(reference)
    for one, other in ((estimate, silent), (silent, reference), (silent, silent)):
        assert all(scores.isnan().all() for scores in framewise_bss_eval(one, other, 1000))
    reference[0] = 0
    assert framewise_sdr(estimate, reference, 1000, joint=True).isnan().all()
    alone = framewise_sdr(estimate, reference, 1000, joint=False)
    assert alone[0].isnan().all()
    assert alone[1].isfinite().all()


def test_a_perfect_estimate_is_infinitely_good(make_stems):
    _, reference = make_stems(num_samples=2000)
    assert (framewise_sdr(reference, reference, 1000) == float("inf")).all()
    assert (framewise_bss_eval(reference, reference, 1000).sar > 150).all()


def test_samples_that_are_no_numbers_give_nan_and_do_not_hang(make_stems):
    estimate, reference = make_stems(num_samples=2000)
    estimate[0, 0, 100] = torch.nan
    assert framewise_bss_eval(estimate, reference, 1000).sdr[0, 0].isnan()


@given(st.integers(1, 3000), st.integers(1, 900), st.integers(1, 900))
@settings(deadline=None, max_examples=40)
def test_any_length_window_and_hop(num_samples, window, hop):
    reference = torch.randn(2, 1, num_samples, dtype=torch.float64)
    estimate = reference + torch.randn(2, 1, num_samples, dtype=torch.float64)
    scores = framewise_sdr(estimate, reference, window, hop)
    num_frames = (num_samples - window + hop) // hop if window < num_samples else 1
    assert scores.shape == (2, num_frames)
    last = slice((num_frames - 1) * hop, (num_frames - 1) * hop + window)
    noise = (estimate - reference)[..., last]
    expected = 10 * torch.log10(reference[..., last].square().sum((1, 2)) / noise.square().sum((1, 2)))
    assert torch.allclose(scores[:, -1], expected, atol=1e-9)


def test_windows_of_nothing_are_refused(make_stems):
    estimate, reference = make_stems(num_samples=100)
    for window, hop in ((0, None), (10, 0), (-1, 5)):
        with pytest.raises(ConfigError, match="at least 1 for both"):
            framewise_sdr(estimate, reference, window, hop)
    with pytest.raises(SignalError, match="0 samples"):
        framewise_bss_eval(estimate, reference[..., :0])
    with pytest.raises(SignalError, match="no source"):
        framewise_sdr(estimate[:0], reference[:0])


def test_loading_makes_filters_of_band_limited_stems_meaningful():
    """Next to nothing above half the band, as in lossy stems: without loading the filters there are arbitrary.

    With a gain of 0.9 and a leak of 0.05, ISR is 20 dB and SIR 25 dB.
    """
    spectrum = torch.fft.rfft(torch.randn(2, 2, 12_000, dtype=torch.float64))
    narrow = torch.fft.irfft(spectrum / (1 + (torch.arange(6001) / 3000) ** 40.0), 12_000)
    noisy = 0.9 * narrow + 0.05 * narrow.flip(0) + 0.01 * torch.randn_like(narrow)
    plain = framewise_bss_eval(noisy, narrow, 3000)
    loaded = framewise_bss_eval(noisy, narrow, 3000, loading=1e-6)
    assert torch.equal(plain.sdr, loaded.sdr)
    assert (loaded.isr - 20).abs().max() < 1
    assert (loaded.sir - 25).abs().max() < 2
    assert (plain.isr < 0).all()

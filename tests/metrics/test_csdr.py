"""The three protocols of cSDR and the medians."""

import numpy as np
import pytest
import torch

from unbraid.errors import ConfigError
from unbraid.metrics.csdr import against_the_rest, csdr, csdr_frames, median_over_frames, median_over_songs


def test_joint_equals_the_stored_median_of_museval(golden):
    file = golden("metrics_museval_a")
    estimate, reference = file["estimates"].mT, file["references"].mT
    joint = csdr(estimate, reference, 4000, "joint")
    assert torch.allclose(joint.float(), file["joint_sdr_nanmedian"], atol=1e-4)
    single = csdr(estimate, reference, 4000)
    expected = np.nanmedian(file["single_sdr"].double().numpy(), axis=1)
    assert torch.allclose(single, torch.from_numpy(expected), atol=1e-4)


def test_the_vocals_depend_on_what_they_are_scored_with(museval, make_stems):
    """Against museval called as `eval_mus_track` calls it when an accompaniment is given."""
    estimate, reference = make_stems(num_sources=3, num_samples=6000)
    reference[1, :, 1000:2000] = 0
    reference[2, :, 3000:4000] = 0
    single = csdr_frames(estimate, reference, 1000, "single")
    joint = csdr_frames(estimate, reference, 1000, "joint")
    paired = csdr_frames(estimate, reference, 1000, "accompaniment", vocals=2)
    assert single.isnan().sum(1).tolist() == [0, 1, 1]
    assert joint.isnan().sum(1).tolist() == [2, 2, 2]
    assert paired.isnan().sum(1).tolist() == [2, 2, 1]
    pair = [against_the_rest(signals, 2).mT.numpy() for signals in (reference, estimate)]
    theirs = torch.from_numpy(museval.bss_eval(*pair, window=1000, hop=1000)[0])
    assert torch.allclose(paired[2], theirs[0], equal_nan=True)
    assert torch.allclose(against_the_rest(estimate, 1)[1], estimate[0] + estimate[2])


def test_medians_leave_out_what_is_not_finite_and_take_the_mean_of_two():
    frames = torch.tensor([[1.0, 4.0, torch.nan, torch.inf, 2.0, 8.0], [torch.nan] * 6])
    assert median_over_frames(frames)[0] == 3
    assert median_over_frames(frames)[1].isnan()
    songs = [torch.tensor([1.0, torch.nan]), torch.tensor([4.0, 2.0])]
    assert median_over_songs(songs).tolist() == [2.5, 2.0]


def test_a_protocol_without_what_it_needs_is_refused(make_stems):
    estimate, reference = make_stems(num_samples=100)
    with pytest.raises(ConfigError, match="place of the vocals"):
        csdr(estimate, reference, 50, "accompaniment")
    with pytest.raises(ConfigError, match="place of the vocals"):
        csdr(estimate, reference, 50, "accompaniment", vocals=2)

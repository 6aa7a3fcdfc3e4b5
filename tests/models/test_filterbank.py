"""The fixed filterbank: its bands, its masks, and that powers in bands are all that it needs."""

from itertools import pairwise

import pytest
import torch

from unbraid.errors import ConfigError
from unbraid.models.catalog import build_model
from unbraid.models.sfc.filterbank import FilterbankConfig, bands_of_bins, narrow_band_edges


@pytest.mark.parametrize(("freqs", "bands"), [(2049, 192), (33, 16), (33, 33), (1025, 2)])
def test_bands_cover_every_bin_once_and_grow(freqs, bands):
    edges = narrow_band_edges(freqs, bands)
    widths = [after - before for before, after in pairwise(edges)]
    assert (edges[0], edges[-1], len(widths)) == (0, freqs, bands)
    assert min(widths) >= 1
    assert widths[-1] >= widths[0]
    assert torch.equal(torch.bincount(bands_of_bins(edges)), torch.tensor(widths))


def test_more_bands_than_bins_and_groups_that_do_not_fit_are_refused():
    with pytest.raises(ConfigError, match="do not fit"):
        narrow_band_edges(16, 17)
    with pytest.raises(ConfigError, match="multiple"):
        build_model("fb-tiny", n_fft=64, num_bands=3, compression=FilterbankConfig(narrow_bands=16, lowest_bins=1))
    with pytest.raises(ConfigError, match="at least 1"):
        FilterbankConfig(narrow_bands=0)


def test_estimates_are_shares_of_the_mixture_and_add_up_to_it():
    torch.manual_seed(0)
    model, mixture = build_model("fb-tiny"), torch.randn(1, 2, 44_100)
    with torch.no_grad():
        estimates = model(mixture)
    torch.testing.assert_close(estimates.sum(dim=1), mixture, atol=1e-4, rtol=0)


def test_powers_in_bands_are_all_it_sees():
    torch.manual_seed(0)
    core = build_model("fb-tiny", num_channels=2).core
    spectrum = torch.randn(1, 6, 2049, 4)  # (part channel)
    real, imaginary = spectrum[..., :2], spectrum[..., 2:]
    powers = ((real**2 + imaginary**2) @ torch.eye(2)).movedim(-1, 0) @ core.encoder.averages
    shared = (real.prod(-1) + imaginary.prod(-1)) @ core.encoder.averages
    torch.testing.assert_close(core.encoder.embed(powers, shared), core.encoder(spectrum)[0])


def test_one_channel_has_a_power_and_no_sides():
    model = build_model("fb-tiny", num_channels=1, sources=("dialogue", "music"))
    with torch.no_grad():
        assert model(torch.randn(1, 1, 9000)).shape == (1, 2, 1, 9000)

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from unbraid.errors import ConfigError
from unbraid.signal.bands import build_bands

SIZES = {"K64": (1025, 64), "K48": (1025, 48), "K32": (1025, 32), "nfft256_K16": (129, 16), "nfft128_K12": (65, 12)}


@pytest.mark.parametrize("key", SIZES)
def test_musical_bands_are_those_of_the_authors(golden, key):
    table, expected = build_bands("musical", *SIZES[key]), golden("sfc_bands")
    assert list(table.starts) == expected[f"{key}/starts"].tolist()
    assert list(table.ends) == expected[f"{key}/ends"].tolist()


@pytest.mark.parametrize(("num_bands", "total"), [(64, 2142), (48, 2097), (32, 2041)])
def test_their_widths_add_up_to_the_published_totals(num_bands, total):
    assert sum(build_bands("musical", 1025, num_bands).widths) == total


@pytest.mark.parametrize("key", ["K64", "K48", "K32"])
def test_coverage_and_locality_are_those_of_the_authors(golden, key):
    table, expected = build_bands("musical", *SIZES[key]), golden("sfc_bands")
    assert table.coverage().tolist() == expected[f"{key}/coverage"].tolist()
    rows = expected[f"{key}/bias_row_index"].long()
    assert torch.allclose(table.locality()[rows], expected[f"{key}/bias_rows"], atol=1e-6)


def test_locality_at_the_points_of_the_specification():
    locality = build_bands("musical", 1025, 64).locality()
    assert locality[0, [0, 1, 3, 1024]].tolist() == [-0.5, 0, -1, -1022]
    assert locality[30, [23, 24, 28, 31, 32]].tolist() == pytest.approx([-1, -0.8, 0, -0.6, -1])
    assert locality[63, [0, 971]].tolist() == [-918, 0]


@given(
    scale=st.sampled_from(["musical", "mel", "uniform", "full"]),
    num_freqs=st.integers(17, 1200),
    num_bands=st.integers(2, 96),
)
def test_every_bin_lies_in_a_band_and_bands_are_in_order(scale, num_freqs, num_bands):
    if num_bands >= num_freqs:
        return
    table = build_bands(scale, num_freqs, num_bands)
    assert table.num_bands == num_bands
    assert table.coverage().min() >= 1
    assert all(width >= 1 for width in table.widths)
    assert list(table.starts) == sorted(table.starts)
    assert list(table.ends) == sorted(table.ends)


def test_the_bs_roformer_split_has_62_bands_that_do_not_overlap():
    table = build_bands("bs-roformer", 1025, 62)
    assert table.coverage().unique().tolist() == [1]
    assert table.widths[-2:] == (128, 129)


@pytest.mark.parametrize(
    ("scale", "num_freqs", "num_bands"), [("musical", 65, 65), ("bs-roformer", 1025, 64), ("mel", 9, 1)]
)
def test_impossible_tables_are_refused(scale, num_freqs, num_bands):
    with pytest.raises(ConfigError):
        build_bands(scale, num_freqs, num_bands)

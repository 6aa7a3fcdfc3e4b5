"""Convolution by spectra: the same numbers as directly, with gradients, for any plane; and never with old kernels."""

import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from unbraid.errors import ConfigError
from unbraid.layers.kernels import onednn
from unbraid.models.super_resolution import fft_convolution
from unbraid.models.super_resolution.fft_convolution import PlaneConv2d, convolve, kernel_spectra
from unbraid.models.super_resolution.fft_tiling import Tiling, choose_tiling, fft_is_faster

ODD = st.sampled_from([1, 3, 5, 7, 11])


def direct(layer, planes):
    return F.conv2d(planes, layer.weight, layer.bias, padding="same")


def close(found, expected):
    precision = 1e-4 if found.dtype == torch.float32 else 1e-10
    return torch.allclose(found, expected, atol=precision * max(1.0, float(expected.detach().abs().max())))


@settings(max_examples=15, deadline=None)
@given(
    batch=st.integers(1, 3),
    dim_in=st.integers(1, 4),
    dim_out=st.integers(1, 4),
    num_freqs=st.integers(1, 50),
    num_frames=st.integers(1, 70),
    kernel=st.tuples(ODD, ODD),
)
def test_it_is_the_convolution_with_its_gradients(batch, dim_in, dim_out, num_freqs, num_frames, kernel):
    # In double precision: the bias's gradient is a sum of thousands that cancel, of which single keeps four figures.
    layer = PlaneConv2d(dim_in, dim_out, kernel, "fft").double()
    planes = torch.randn(batch, dim_in, num_freqs, num_frames, dtype=torch.float64, requires_grad=True)
    found, expected = layer(planes), direct(layer, planes)
    assert close(found, expected)
    wanted = torch.randn_like(expected)
    of = (planes, *layer.parameters())
    for ours, theirs in zip(
        torch.autograd.grad(found, of, wanted), torch.autograd.grad(expected, of, wanted), strict=True
    ):
        assert close(ours, theirs)
    with torch.inference_mode():
        assert close(layer(planes), expected)


@pytest.mark.parametrize("fft", [(7, 9), (12, 15), (40, 31), (64, 64)])
def test_every_tiling_gives_the_same(fft):
    weight, planes = torch.randn(3, 2, 5, 7, dtype=torch.float64), torch.randn(2, 2, 33, 75, dtype=torch.float64)
    tiling = Tiling((5, 7), fft)
    found = convolve(planes, kernel_spectra(weight, tiling), tiling)
    assert torch.allclose(found, F.conv2d(planes, weight, padding="same"), atol=1e-10)


def test_blocks_join_without_a_seam(monkeypatch):
    layer, planes = PlaneConv2d(2, 3, (5, 5), "fft"), torch.randn(2, 2, 40, 300)
    with torch.inference_mode():
        whole = layer(planes)
        monkeypatch.setattr(fft_convolution, "TILES_AT_ONCE", 1)
        pieces = layer(planes)
    assert torch.allclose(whole, pieces, atol=1e-5)


def test_other_processors_get_the_same(monkeypatch):
    layer, planes = PlaneConv2d(2, 3, (5, 5), "fft"), torch.randn(2, 2, 40, 60)
    with torch.inference_mode():
        here = layer(planes)
        other = not onednn.onednn_is_faster()
        for module in (onednn, fft_convolution):
            monkeypatch.setattr(module, "onednn_is_faster", lambda: other)
        assert torch.allclose(here, layer(planes), atol=1e-5)


def test_gradients_in_double_precision():
    layer = PlaneConv2d(1, 2, (3, 5), "fft").double()
    planes = torch.randn(2, 1, 4, 5, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(
        lambda planes, weight: fft_convolution._Convolution.apply(planes, weight, TILING), (planes, layer.weight)
    )


TILING = Tiling((3, 5), (5, 8))


def test_kept_kernels_are_never_old():
    layer, planes = PlaneConv2d(2, 2, 3, "fft"), torch.randn(1, 2, 9, 20)
    with torch.no_grad():
        layer(planes)
        kept = layer._kept
        layer(planes)
        assert layer._kept is kept
        layer.weight.mul_(2)
        assert close(layer(planes), direct(layer, planes))
        layer.load_state_dict({name: torch.randn_like(tensor) for name, tensor in layer.state_dict().items()})
        assert close(layer(planes), direct(layer, planes))
        layer.weight.data = torch.randn_like(layer.weight)
        assert close(layer(planes), direct(layer, planes))
    assert copy.deepcopy(layer)._kept is None
    optimiser = torch.optim.SGD(layer.parameters(), lr=0.1)
    layer(planes).square().sum().backward()
    assert layer._kept is None
    optimiser.step()
    with torch.inference_mode():
        assert close(layer(planes), direct(layer, planes))


def test_weights_made_in_inference_mode_work():
    with torch.inference_mode():
        layer, planes = PlaneConv2d(2, 2, 3, "fft"), torch.randn(1, 2, 9, 20)
        layer(planes)
        layer.weight.mul_(2)
        assert close(layer(planes), direct(layer, planes))


def test_it_takes_over_the_weights_of_a_convolution():
    theirs, ours = torch.nn.Conv2d(3, 4, 5, padding="same"), PlaneConv2d(3, 4, 5, "fft")
    ours.load_state_dict(theirs.state_dict())
    planes = torch.randn(2, 3, 20, 31)
    with torch.no_grad():
        assert close(ours(planes), theirs(planes))


def test_where_spectra_cannot_be_had_it_is_direct():
    layer, planes = PlaneConv2d(2, 2, 3, "fft"), torch.randn(1, 2, 9, 20)
    with torch.inference_mode():
        exact = layer(planes)
        with torch.autocast("cpu", torch.bfloat16):
            assert layer(planes).dtype == torch.bfloat16
        program = torch.export.export(layer, (planes,), strict=False)
        assert torch.allclose(program.module()(planes), exact, atol=1e-5)


def test_the_faster_way_is_chosen():
    """Wide layers with large kernels by spectra; narrow ones, small kernels and unknown devices directly."""

    def chosen(kernel, dims, device="cpu"):
        return fft_is_faster((1, dims[0], 129, 501), dims[1], choose_tiling((kernel, kernel), 129, *dims), device)

    assert chosen(9, (128, 256))
    assert chosen(11, (256, 128))
    assert chosen(11, (256, 128), "cuda")
    assert not chosen(5, (5, 128))
    assert not chosen(3, (256, 256))
    assert not chosen(5, (8, 16))
    assert not chosen(11, (256, 128), "mps")


def test_tiles_do_not_grow_with_the_length():
    tiling = choose_tiling((11, 11), 129, 256, 128)
    assert max(tiling.fft) <= 40
    assert choose_tiling((11, 11), 3, 2, 2).fft[0] == 13


def test_even_kernels_are_refused():
    with pytest.raises(ConfigError, match="odd"):
        PlaneConv2d(2, 2, (3, 4))

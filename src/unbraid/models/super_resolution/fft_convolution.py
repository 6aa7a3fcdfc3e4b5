"""Convolution with large kernels over the plane of bins and frames, by products of spectra where that is faster.

A convolution of k x k over C and O channels costs k^2 C O multiplications a bin. Cut into tiles of N x N, of which
(N - k + 1)^2 outputs come out right and the rest is thrown away (overlap-save), the plane can be convolved by the
discrete Fourier transform: each of the N (N/2 + 1) bins of a tile's spectrum is a matrix product over the channels of
all tiles. For 11 x 11 and N = 32 that is 27 times fewer multiplications, plus the transforms.

Three things make this fast on a CPU (`benchmarks/networks/super_resolution.py`):
* tiles are so small that their transforms are real matrix products too, with channels side by side in memory, and real
  and imaginary parts come out apart, as the products over channels want them;
* one row of bins at a time is transformed, multiplied and transformed back, so that it stays in the cache;
* frames are worked through in blocks, which also bounds the memory for any length.

The rows of a batch stand one after another on the frame axis, with zeros between them.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal, NamedTuple

import torch
from torch import nn

from unbraid.axes import Float, Tensor
from unbraid.errors import ConfigError
from unbraid.layers.kernels.onednn import onednn_is_faster, onednn_takes, product
from unbraid.models.super_resolution.fft_tiling import TILES_AT_ONCE, Tiling, choose_tiling, fft_is_faster
from unbraid.options import check_option

Method = Literal["auto", "direct", "fft"]


class PlaneConv2d(nn.Conv2d):
    """`nn.Conv2d` with stride 1 and "same" padding, the same parameters and, to rounding, the same result.

    `method` "auto" takes the faster way for the plane at hand. Between calls without gradients the spectra of kernels
    are kept, which takes about ten times the weights' memory for 11 x 11, and made anew when the weights change.
    """

    def __init__(self, dim_in: int, dim_out: int, kernel_size: int | tuple[int, int], method: Method = "auto") -> None:
        super().__init__(dim_in, dim_out, kernel_size, padding="same")
        if any(size % 2 == 0 for size in self.kernel_size):
            raise ConfigError(f"kernels are odd so that bins keep their place, not {self.kernel_size}")
        check_option("method", method, Method)
        self.method: Method = method
        self._kept: tuple[tuple[object, ...], Tensor] | None = None

    def forward(self, input: Float[Tensor, "batch dim_in freq frame"]) -> Float[Tensor, "batch dim_out freq frame"]:
        kernel = (self.kernel_size[0], self.kernel_size[1])
        tiling = choose_tiling(kernel, input.shape[2], self.in_channels, self.out_channels)
        if not self._by_fft(input, tiling):
            return super().forward(input)
        if torch.is_grad_enabled() and (input.requires_grad or self.weight.requires_grad):
            self._kept = None
            out = _Convolution.apply(input, self.weight, tiling)
            return out if self.bias is None else out + self.bias[:, None, None]
        return convolve(input, self._spectra(tiling), tiling, self.bias)

    def _by_fft(self, planes: Tensor, tiling: Tiling) -> bool:
        if self.method == "direct" or torch.compiler.is_compiling() or planes.dtype != self.weight.dtype:
            return False
        if torch.is_autocast_enabled(planes.device.type) or planes.dtype not in (torch.float32, torch.float64):
            return False
        return self.method == "fft" or fft_is_faster(planes.shape, self.out_channels, tiling, planes.device.type)

    def _spectra(self, tiling: Tiling) -> Tensor:
        weight = self.weight
        if weight.is_inference():
            return kernel_spectra(weight, tiling)  # whether such a tensor has changed cannot be told
        key = (weight._version, weight.data_ptr(), weight.device, weight.dtype, tiling)
        if self._kept is None or self._kept[0] != key:
            self._kept = key, kernel_spectra(weight, tiling)
        return self._kept[1]

    def __getstate__(self) -> dict[str, Any]:
        """Copies make their own spectra."""
        return {**self.__dict__, "_kept": None}

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}, method={self.method!r}"


class _Convolution(torch.autograd.Function):
    """Keeps planes and weights for the gradients, and no spectra."""

    @staticmethod
    def forward(ctx, planes: Tensor, weight: Tensor, tiling: Tiling) -> Tensor:  # type: ignore[override]
        ctx.save_for_backward(planes, weight)
        ctx.tiling = tiling
        return convolve(planes, kernel_spectra(weight, tiling), tiling)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, grad: Tensor) -> tuple[Tensor | None, Tensor | None, None]:  # type: ignore[override]
        planes, weight = ctx.saved_tensors
        of_planes = of_weight = None
        if ctx.needs_input_grad[0]:
            flipped = weight.flip(2, 3).transpose(0, 1)
            of_planes = convolve(grad, kernel_spectra(flipped, ctx.tiling), ctx.tiling)
        if ctx.needs_input_grad[1]:
            of_weight = weight_gradient(planes, grad, ctx.tiling)
        return of_planes, of_weight, None


@torch.no_grad()
def kernel_spectra(
    weight: Float[Tensor, "dim_out dim_in height width"], tiling: Tiling
) -> Float[Tensor, "row bin dim_out_in_parts dim_in"]:
    """For each bin a matrix; real parts for all outputs, then imaginary ones."""
    (height, width), columns, (dim_out, dim_in) = tiling.kernel, tiling.fft[1], weight.shape[:2]
    along_bins, along_frames = _fourier(tiling.fft[0], weight), _fourier(columns, weight)
    of_real, of_imaginary = (matrix[:, :width].contiguous() for matrix in along_frames[2:4])
    kernels = weight.detach().permute(2, 3, 0, 1).contiguous().view(height, -1)
    half_done = product(along_bins.real_forward[:, :height].contiguous(), kernels).view(-1, 2, width, dim_out * dim_in)
    spectra = weight.new_empty(tiling.num_rows, columns, 2, dim_out * dim_in)
    for row, (real, imaginary) in enumerate(half_done):
        parts = product(of_real, real) + product(of_imaginary, imaginary)
        spectra[row] = parts.view(2, columns, -1).transpose(0, 1)
    return spectra.view(tiling.num_rows, columns, 2 * dim_out, dim_in)


@torch.no_grad()
def convolve(
    planes: Float[Tensor, "batch dim_in freq frame"],
    spectra: Float[Tensor, "row bin dim_out_in_parts dim_in"],
    tiling: Tiling,
    bias: Float[Tensor, " dim_out"] | None = None,
) -> Float[Tensor, "batch dim_out freq frame"]:
    """The convolution, with channels side by side in memory; takes no gradient."""
    batch, _, num_freqs, num_frames = planes.shape
    (steps, hop), columns, dim_out = tiling.step, tiling.fft[1], spectra.shape[2] // 2
    layout = _Layout.of(planes, tiling)
    freq_tiles, frame_tiles = layout.freq_tiles, layout.block_tiles
    num_tiles = freq_tiles * frame_tiles
    along_bins, along_frames = _fourier(tiling.fft[0], planes), _fourier(columns, planes)
    back_along_frames = along_frames.complex_inverse.view(2, columns, -1)[:, :hop].flatten(0, 1)
    laid = layout.lay(planes, margins=(tiling.kernel[0] // 2, tiling.kernel[1] // 2))
    out = planes.new_empty(freq_tiles, steps, layout.num_blocks * frame_tiles, hop, dim_out)
    turned = planes.new_empty(2, columns, num_tiles, dim_out)
    for block in range(layout.num_blocks):
        rows = planes.new_empty(tiling.num_rows, 2 * hop, num_tiles * dim_out)
        for row, tiles in enumerate(_tile_spectra(layout.block(laid, block), layout, tiling, tiling.fft)):
            # The parts of a tile are two rows of a product with the kernel's parts side by side: four real products.
            parts = _bin_by_bin(tiles, spectra[row].transpose(1, 2)).view(columns, num_tiles, 2, 2, dim_out)
            torch.add(parts[:, :, 0, 0], parts[:, :, 1, 1], out=turned[0])
            torch.sub(parts[:, :, 1, 0], parts[:, :, 0, 1], out=turned[1])
            rows[row] = product(back_along_frames, turned.view(2 * columns, -1))
        done = product(along_bins.real_inverse[:steps], rows.view(2 * tiling.num_rows, -1))
        done = done.view(steps, hop, freq_tiles, frame_tiles, dim_out)
        out[:, :, block * frame_tiles : (block + 1) * frame_tiles] = done.permute(2, 0, 3, 1, 4)
    if bias is not None:
        out += bias
    height, width = freq_tiles * steps, layout.num_blocks * frame_tiles * hop
    strides = (layout.row_frames * dim_out, 1, width * dim_out, dim_out)
    return out.view(height, width, dim_out).as_strided((batch, dim_out, num_freqs, num_frames), strides)


@torch.no_grad()
def weight_gradient(
    planes: Float[Tensor, "batch dim_in freq frame"], grad: Float[Tensor, "batch dim_out freq frame"], tiling: Tiling
) -> Float[Tensor, "dim_out dim_in height width"]:
    """The gradient of the kernels: planes correlated with the gradient of the outputs, summed over tiles."""
    (height, width), columns, dim_in, dim_out = tiling.kernel, tiling.fft[1], planes.shape[1], grad.shape[1]
    layout = _Layout.of(planes, tiling)
    laid, laid_grad = layout.lay(planes, margins=(height // 2, width // 2)), layout.lay(grad, margins=(0, 0))
    summed = planes.new_zeros(tiling.num_rows, columns, dim_in, 2 * dim_out)
    for block in range(layout.num_blocks):
        seen = _tile_spectra(layout.block(laid, block), layout, tiling, tiling.fft)
        wanted = _tile_spectra(layout.block(laid_grad, block), layout, tiling, tiling.step)
        for row, (tiles, grads) in enumerate(zip(seen, wanted, strict=True)):
            real, imaginary = grads.unflatten(0, (-1, 2)).unbind(1)
            conjugate = torch.stack([torch.cat([real, -imaginary], 2), torch.cat([imaginary, real], 2)], 1).flatten(
                0, 1
            )
            for b in range(columns):
                summed[row, b] += product(tiles[:, b].t().contiguous(), conjugate[:, b].contiguous())
    along_bins, along_frames = _fourier(tiling.fft[0], planes), _fourier(columns, planes)
    back_along_frames = along_frames.complex_inverse.view(2, columns, -1)[:, :width].flatten(0, 1)
    rows = planes.new_empty(tiling.num_rows, 2 * width, dim_in * dim_out)
    for row, bins in enumerate(summed):
        parts = bins.view(columns, dim_in, 2, dim_out).permute(2, 0, 1, 3)
        rows[row] = product(back_along_frames, parts.reshape(2 * columns, -1))
    kernels = product(along_bins.real_inverse[:height], rows.view(2 * tiling.num_rows, -1))
    return kernels.view(height, width, dim_in, dim_out).permute(3, 2, 0, 1)


@dataclass(frozen=True)
class _Layout:
    """Where the rows of a batch and the tiles stand on one long plane."""

    tiling: Tiling
    row_frames: int
    """From one row of the batch to the next."""
    freq_tiles: int
    block_tiles: int
    """Tiles along the frames of a block."""
    num_blocks: int

    @classmethod
    def of(cls, planes: Tensor, tiling: Tiling) -> _Layout:
        batch, _, num_freqs, num_frames = planes.shape
        row_frames = num_frames + tiling.kernel[1] // 2
        freq_tiles, frame_tiles = tiling.counts(num_freqs, batch * row_frames)
        num_blocks = -(-frame_tiles // max(1, TILES_AT_ONCE // freq_tiles))
        return cls(tiling, row_frames, freq_tiles, -(-frame_tiles // num_blocks), num_blocks)

    def lay(self, planes: Tensor, margins: tuple[int, int]) -> Tensor:
        """(freq, frame, dim) with the rows side by side and `margins` of zeros around each."""
        dim, num_freqs, num_frames = planes.shape[1:]
        (steps, hop), (height, width) = self.tiling.step, self.tiling.kernel
        total = self.freq_tiles * steps + height - 1, self.num_blocks * self.block_tiles * hop + width - 1
        laid = planes.new_zeros(*total, dim)
        for row, plane in enumerate(planes):
            start = margins[1] + row * self.row_frames
            laid[margins[0] : margins[0] + num_freqs, start : start + num_frames] = plane.permute(1, 2, 0)
        return laid

    def block(self, laid: Tensor, number: int) -> Tensor:
        frames = self.block_tiles * self.tiling.step[1]
        return laid[:, number * frames : (number + 1) * frames + self.tiling.kernel[1] - 1]


def _tile_spectra(
    block: Tensor, layout: _Layout, tiling: Tiling, size: tuple[int, int]
) -> Iterator[Float[Tensor, "tile_and_part bin dim"]]:
    """The spectra of the tiles' first `size` bins and frames, a row of bins at a time; each replaces the one before."""
    (steps, hop), columns, dim = tiling.step, tiling.fft[1], block.shape[2]
    along_bins, along_frames = _fourier(tiling.fft[0], block), _fourier(columns, block)
    real_forward = along_bins.real_forward[:, : size[0]].contiguous()
    of_real = along_frames.of_real[:, : size[1]].expand(layout.block_tiles, -1, -1)
    of_imaginary = along_frames.of_imaginary[:, : size[1]].expand(layout.block_tiles, -1, -1)
    strips = (block[tile * steps : tile * steps + size[0]].contiguous() for tile in range(layout.freq_tiles))
    half_done = [product(real_forward, strip.flatten(1)).unflatten(0, (-1, 2)) for strip in strips]
    tiles = block.new_empty(layout.freq_tiles, layout.block_tiles, 2 * columns, dim)
    for row in range(tiling.num_rows):
        for out, found in zip(tiles, half_done, strict=True):
            pieces = found[row].unflatten(1, (-1, dim)).unfold(1, size[1], hop)[:, : layout.block_tiles].transpose(2, 3)
            torch.bmm(of_real, pieces[0], out=out)
            out.baddbmm_(of_imaginary, pieces[1])
        yield tiles.view(-1, columns, dim)


def _bin_by_bin(
    left: Float[Tensor, "row bin inner"], right: Float[Tensor, "bin inner column"]
) -> Float[Tensor, "bin row column"]:
    """A matrix product for each bin. PyTorch's batched product on a CPU has half the speed of oneDNN's single ones."""
    if onednn_takes(left) and onednn_is_faster():
        return torch.stack([product(*pair) for pair in zip(left.unbind(1), right, strict=True)])
    return left.transpose(0, 1) @ right


class _Fourier(NamedTuple):
    """The discrete Fourier transform of one length as real matrices; parts are (real, imaginary)."""

    real_forward: Tensor
    """Samples -> (bin, part), half of the bins."""
    real_inverse: Tensor
    """(bin, part), half of the bins -> samples."""
    of_real: Tensor
    """Real samples -> (part, bin), all bins."""
    of_imaginary: Tensor
    """Imaginary samples -> (part, bin), all bins."""
    complex_inverse: Tensor
    """(part, bin), all bins -> (part, sample)."""


def _fourier(size: int, like: Tensor) -> _Fourier:
    return _matrices(size, like.dtype, like.device)


@lru_cache(maxsize=64)
@torch.inference_mode(False)
def _matrices(size: int, dtype: torch.dtype, device: torch.device) -> _Fourier:
    count = torch.arange(size, dtype=torch.float64)
    angle = torch.outer(count, count) * (2 * math.pi / size)
    cos, sin, half = angle.cos(), angle.sin(), size // 2 + 1
    share = torch.full((half,), 2.0 / size, dtype=torch.float64)  # every bin stands for its mirror image too,
    share[0] = 1.0 / size  # but for 0 and, where there is one, the highest
    if size % 2 == 0:
        share[-1] = 1.0 / size
    matrices = _Fourier(
        real_forward=torch.stack([cos[:half], -sin[:half]], dim=1).flatten(0, 1),
        real_inverse=torch.stack([cos[:, :half] * share, -sin[:, :half] * share], dim=2).flatten(1, 2),
        of_real=torch.cat([cos, -sin]),
        of_imaginary=torch.cat([sin, cos]),
        complex_inverse=torch.cat([torch.cat([cos, -sin], dim=1), torch.cat([sin, cos], dim=1)]) / size,
    )
    return _Fourier(*(matrix.to(device, dtype).contiguous() for matrix in matrices))

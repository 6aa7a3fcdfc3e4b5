"""From what a dual-path separator has found to estimates: masks on the encoded mixture, decoded."""

from __future__ import annotations

from typing import Literal

from einops import rearrange
from torch import nn
from torch.nn import functional as F

from unbraid.axes import Float, Tensor
from unbraid.layers.activation import PReLU
from unbraid.layers.linear import Linear
from unbraid.models.dprnn.chunks import join_chunks
from unbraid.signal.frames import add_frames

MaskOutput = Literal["plain", "linear", "gated"]
MaskActivation = Literal["after", "before"]


class MaskHead(nn.Module):
    """From the features of a block to estimates: masks on the encoded mixture, decoded."""

    def __init__(
        self,
        dim: int,
        *,
        num_filters: int,
        num_sources: int,
        kernel_samples: int,
        stride_samples: int,
        mask_output: MaskOutput,
        mask_activation: MaskActivation,
    ) -> None:
        super().__init__()
        self.num_sources, self.stride = num_sources, stride_samples
        self.positive_before = mask_activation == "before"
        self.activation = PReLU()
        self.split = Linear(dim, num_sources * num_filters)
        self.output: nn.Module = {
            "plain": nn.Identity,
            "linear": lambda: Linear(num_filters, num_filters, bias=False),
            "gated": lambda: GatedOutput(num_filters),
        }[mask_output]()
        self.decoder = Linear(num_filters, kernel_samples, bias=False)
        # As a transposed convolution is drawn.
        bound = kernel_samples**-0.5
        nn.init.uniform_(self.decoder.weight, -bound, bound)

    def forward(
        self, features: Float[Tensor, "batch chunk chunk_frame dim"], encoded: Float[Tensor, "batch frame filter"]
    ) -> Float[Tensor, "batch source sample"]:
        chunks = self.split(self.activation(features))
        if self.positive_before:
            chunks = F.relu(chunks)
        frames = join_chunks(chunks, encoded.shape[1])
        masks = rearrange(frames, "batch frame (source filter) -> batch source frame filter", source=self.num_sources)
        masks = F.relu(self.output(masks))
        # The transposed convolution as a product and an overlap-add; PyTorch's own is many times slower on a CPU.
        pieces = self.decoder(masks * encoded.unsqueeze(1)).flatten(0, 1)
        return add_frames(pieces, self.stride).unflatten(0, (-1, self.num_sources))


class GatedOutput(nn.Module):
    """tanh(linear) x sigmoid(linear), then a linear map without bias."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.value, self.gate, self.out = Linear(dim, dim), Linear(dim, dim), Linear(dim, dim, bias=False)

    def forward(self, features: Float[Tensor, "*axes dim"]) -> Float[Tensor, "*axes dim"]:
        return self.out(self.value(features).tanh() * self.gate(features).sigmoid())

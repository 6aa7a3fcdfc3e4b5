"""Feed-forward layers with gates: N. Shazeer, "GLU Variants Improve Transformer", 2020. Features lie last."""

from __future__ import annotations

from torch import nn
from torch.nn import functional as F

from unbraid.axes import Float, Tensor
from unbraid.layers.convolution import FrameConv
from unbraid.layers.linear import Linear


def gate(features: Float[Tensor, "*axes two_dim"]) -> Float[Tensor, "*axes dim"]:
    """The first half of the features times SiLU of the second."""
    value, control = features.chunk(2, dim=-1)
    return value * F.silu(control)


class SwiGLU(nn.Module):
    """Widen, gate, narrow; `dim_in` features in, `dim_out` (by default as many) out."""

    def __init__(self, dim_in: int, hidden_dim: int, dim_out: int | None = None) -> None:
        super().__init__()
        self.widen = Linear(dim_in, 2 * hidden_dim)
        self.narrow = Linear(hidden_dim, dim_out or dim_in)

    def forward(self, features: Float[Tensor, "*axes dim_in"]) -> Float[Tensor, "*axes dim_out"]:
        return self.narrow(gate(self.widen(features)))


class ConvSwiGLU(nn.Module):
    """SwiGLU whose two linear maps see `kernel_size` neighbouring frames (TF-Locoformer).

    The first map is a convolution over every window that touches the sequence, the second a transposed convolution back
    to the sequence's length. With stride 1 that is a plain convolution without padding, whose kernel is stored in its
    own order; a CPU runs it many times faster.
    """

    def __init__(self, dim: int, hidden_dim: int, kernel_size: int, dropout: float) -> None:
        super().__init__()
        self.widen = FrameConv(dim, 2 * hidden_dim, kernel_size, padding=kernel_size - 1)
        self.narrow = FrameConv(hidden_dim, dim, kernel_size, padding=0)
        self.dropout = nn.Dropout(dropout)
        # PyTorch draws a transposed convolution by its outgoing size; so do we.
        bound = (dim * kernel_size) ** -0.5
        nn.init.uniform_(self.narrow.weight, -bound, bound)
        nn.init.uniform_(self.narrow.bias, -bound, bound)

    def forward(self, features: Float[Tensor, "batch frame dim"]) -> Float[Tensor, "batch frame dim"]:
        hidden = self.dropout(gate(self.widen(features)))
        return self.dropout(self.narrow(hidden))

    def skipped_macs(self, features: Float[Tensor, "batch frame dim"]) -> int:
        """What the transposed convolution would compute beyond the ends of the sequence, to be cut off."""
        dim, hidden_dim, kernel_size = self.narrow.weight.shape
        return features.shape[0] * (kernel_size - 1) * dim * hidden_dim * kernel_size

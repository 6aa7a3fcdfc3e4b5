"""State-space sequence layers: S4 (diagonal plus low rank, HiPPO-LegS) and S4D (diagonal).

A. Gu, K. Goel, C. Re, "Efficiently Modeling Long Sequences with Structured State Spaces", ICLR 2022;
A. Gu, A. Gupta, K. Goel, C. Re, "On the Parameterization and Initialization of Diagonal State Space Models", 2022.

Each of `dim` features owns a linear system  x' = A x + B u,  y = C x + D u  with `state_dim` real states, which is
discretised with its own step dt to  x_t = Abar x_{t-1} + Bbar u_t,  y_t = C x_t + D u_t. The parameters are complex
numbers in conjugate pairs and only one of each pair is stored; the computation is real throughout: with the stored
half written as a + i b, the state is the vector (a, b) and every complex map becomes a real matrix on it.

Deviation from the published code: the kernel  K_l = C Abar^l Bbar  is not found through the Cauchy sum and a C that
depends on the training length, but by doubling (K columns of Abar^l Bbar give the next K through Abar^K). It is exact
for every length, needs no stored length, and costs log2(length) small matrix products, once per forward.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Literal

import torch
from torch import nn
from torch.nn import functional as F

from unbraid.axes import Complex, Float, Tensor
from unbraid.errors import ConfigError
from unbraid.layers.linear import Linear
from unbraid.options import Dropout, PositiveFloat, PositiveInt, check_options
from unbraid.signal.lengths import fast_fft_length

StateSpaceKind = Literal["s4", "s4d-legs", "s4d-lin", "s4d-inv", "s4d-real"]


@dataclass(frozen=True, kw_only=True)
class StateSpaceConfig:
    """Settings of a state-space layer; the defaults are those of S4M."""

    kind: StateSpaceKind = "s4"
    """`s4` is DPLR with HiPPO-LegS and bilinear steps; the `s4d-...` kinds are diagonal with zero-order-hold steps."""

    state_dim: PositiveInt = 16
    """Real states per feature: twice the number of stored complex modes."""

    bidirectional: bool = True
    """Adds a second readout that runs backwards in time; it shares A, B and dt with the forward one."""

    min_step: PositiveFloat = 1e-3
    """Smallest initial dt, in frames."""

    max_step: PositiveFloat = 1e-1
    """Largest initial dt, in frames."""

    dropout: Dropout = 0.0

    def __post_init__(self) -> None:
        check_options(self)
        if self.state_dim % 2:
            raise ConfigError(f"state_dim is an even number, not {self.state_dim}")
        if self.min_step > self.max_step:
            raise ConfigError(f"min_step is at most max_step, not {self.min_step} and {self.max_step}")


@dataclass(frozen=True)
class DiscreteSystem:
    """The discretised system in real form, shared by convolution, step and chunked use."""

    transition: Float[Tensor, "dim state state"]
    drive: Float[Tensor, "dim state"]
    readout: Float[Tensor, "direction dim state"]


class StateSpace(nn.Module, ABC):
    """`dim` independent linear systems; subclasses say how A and B are parameterised and discretised."""

    readout_parts: nn.Parameter
    log_step: nn.Parameter

    def __init__(self, dim: int, config: StateSpaceConfig) -> None:
        super().__init__()
        self.dim, self.num_modes = dim, config.state_dim // 2
        directions = 2 if config.bidirectional else 1
        # A standard complex normal: each part has variance one half.
        self.readout_parts = nn.Parameter(torch.randn(directions, dim, self.num_modes, 2) * math.sqrt(0.5))
        span = math.log(config.max_step) - math.log(config.min_step)
        self.log_step = nn.Parameter(torch.rand(dim) * span + math.log(config.min_step))

    @abstractmethod
    def discretise(self) -> DiscreteSystem:
        """The system of the present parameters."""

    def readout(self) -> Float[Tensor, "direction dim state"]:
        """C in real form: y = 2 Re(c x) = (2 Re c, -2 Im c) . (a, b)."""
        return torch.cat([2 * self.readout_parts[..., 0], -2 * self.readout_parts[..., 1]], dim=-1)

    def kernel(self, num_frames: int) -> Float[Tensor, "direction dim frame"]:
        """Impulse responses K_l = C Abar^l Bbar for l = 0 .. num_frames - 1, one row per direction."""
        system = self.discretise()
        responses = powers(widest(system.transition), widest(system.drive), num_frames)
        return torch.einsum("cds,dsl->cdl", widest(system.readout), responses).to(system.drive.dtype)


class HippoStateSpace(StateSpace):
    """S4: A = diag(lambda) - p p^*, started at HiPPO-LegS, discretised by the bilinear rule."""

    def __init__(self, dim: int, config: StateSpaceConfig) -> None:
        super().__init__(dim, config)
        eigenvalues, low_rank, drive = hippo_legs(config.state_dim)
        self.log_decay = nn.Parameter(torch.log(-eigenvalues.real.clamp(max=-1e-3)).float().repeat(dim, 1))
        self.frequency = nn.Parameter(eigenvalues.imag.float().repeat(dim, 1))
        self.low_rank_parts = nn.Parameter(torch.view_as_real(low_rank).float().repeat(dim, 1, 1))
        self.drive_parts = nn.Parameter(torch.view_as_real(drive).float().repeat(dim, 1, 1))

    def discretise(self) -> DiscreteSystem:
        """Abar = 2 M - I and Bbar = dt M b with M = (I - dt/2 A)^-1 in closed form (Woodbury), no matrix is inverted.

        With d = 1 / (1 - dt/2 lambda):  M = diag(d) - (dt/2) d p p^* d / (1 + dt/2 p^* diag(d) p), where the vectors
        run over the stored modes and their conjugates; s below is p^* diag(d) p over both halves, a real number.
        """
        step = self.log_step.exp()[:, None]
        half = step / 2
        eigenvalues = torch.complex(-self.log_decay.exp(), self.frequency)
        p, b = as_complex(self.low_rank_parts), as_complex(self.drive_parts)
        d = 1 / (1 - half * eigenvalues)
        s = 2 * (d * p.abs().square()).real.sum(-1, keepdim=True)
        weight = half / (1 + half * s)
        column, row, row_of_conjugates = d * p, p.conj() * d, p * d.conj()
        own = torch.diag_embed(d) - (weight * column)[..., :, None] * row[..., None, :]
        crossed = -(weight * column)[..., :, None] * row_of_conjugates[..., None, :]
        inverse = as_real_matrix(own, crossed)
        identity = torch.eye(inverse.shape[-1], dtype=inverse.dtype, device=inverse.device)
        drive = torch.cat([b.real, b.imag], dim=-1)
        # Not as a product of matrices, which a GPU may round to TF32.
        return DiscreteSystem(2 * inverse - identity, step * (inverse * drive[:, None]).sum(-1), self.readout())


class DiagonalStateSpace(StateSpace):
    """S4D: A = diag(lambda), B = 1, discretised by zero-order hold."""

    def __init__(self, dim: int, config: StateSpaceConfig) -> None:
        super().__init__(dim, config)
        eigenvalues = diagonal_eigenvalues(config.kind, config.state_dim)
        self.log_decay = nn.Parameter(torch.log(-eigenvalues.real).float().repeat(dim, 1))
        self.frequency = nn.Parameter(eigenvalues.imag.float().repeat(dim, 1))

    def discretise(self) -> DiscreteSystem:
        eigenvalues = torch.complex(-self.log_decay.exp(), self.frequency)
        decay = torch.exp(self.log_step.exp()[:, None] * eigenvalues)
        drive = (decay - 1) / eigenvalues
        transition = as_real_matrix(torch.diag_embed(decay), torch.zeros_like(torch.diag_embed(decay)))
        return DiscreteSystem(transition, torch.cat([drive.real, drive.imag], dim=-1), self.readout())


def build_state_space(dim: int, config: StateSpaceConfig) -> StateSpace:
    return HippoStateSpace(dim, config) if config.kind == "s4" else DiagonalStateSpace(dim, config)


class StateSpaceLayer(nn.Module):
    """A state-space system per feature, then GELU and a gated linear mix of the features (GLU), as S4M uses it.

    Takes and returns (batch, frame, dim). The convolution runs in float32, also under autocast.
    """

    def __init__(self, dim: int, config: StateSpaceConfig) -> None:
        super().__init__()
        self.system = build_state_space(dim, config)
        self.skip = nn.Parameter(torch.randn(dim))
        self.dropout = nn.Dropout(config.dropout)
        self.mix = Linear(dim, 2 * dim)
        self.bidirectional = config.bidirectional

    def kernel(self, num_frames: int) -> Float[Tensor, "direction dim frame"]:
        """Impulse responses for this length, to hand to `forward` where the layer runs more than once."""
        with torch.autocast(self.skip.device.type, enabled=False):
            return self.system.kernel(num_frames)

    def forward(
        self,
        features: Float[Tensor, "batch frame dim"],
        kernel: Float[Tensor, "direction dim frame"] | None = None,
    ) -> Float[Tensor, "batch frame dim"]:
        if kernel is None:
            kernel = self.kernel(features.shape[1])
        with torch.autocast(features.device.type, enabled=False):
            wide = features.to(kernel.dtype)
            filtered = convolve(wide, kernel) + self.skip * wide
        return self._mix(filtered.to(features.dtype))

    def initial_state(self, batch_size: int) -> Float[Tensor, "batch dim state"]:
        """Rest: what the causal layer carries before the first frame."""
        return self.skip.new_zeros(batch_size, self.system.dim, 2 * self.system.num_modes)

    def step(
        self,
        frame: Float[Tensor, "batch dim"],
        state: Float[Tensor, "batch dim state"],
        system: DiscreteSystem | None = None,
    ) -> tuple[Float[Tensor, "batch dim"], Float[Tensor, "batch dim state"]]:
        """One frame of the causal layer; returns its output and the state to carry on.

        `system` is `self.system.discretise()`, for who takes many steps with the same weights.
        """
        self._assert_causal()
        system = system or self.system.discretise()
        state = torch.einsum("dij,bdj->bdi", system.transition, state) + system.drive * frame[..., None]
        filtered = torch.einsum("ds,bds->bd", system.readout[0], state) + self.skip * frame
        return self._mix(filtered), state

    def forward_chunk(
        self, features: Float[Tensor, "batch frame dim"], state: Float[Tensor, "batch dim state"]
    ) -> tuple[Float[Tensor, "batch frame dim"], Float[Tensor, "batch dim state"]]:
        """Some frames of the causal layer at once, going on from `state`; equals `forward` over all frames together."""
        self._assert_causal()
        system, num_frames = self.system.discretise(), features.shape[1]
        responses = powers(system.transition, system.drive, num_frames)
        kernel = torch.einsum("cds,dsl->cdl", system.readout, responses)
        # C Abar^{l+1} for every frame l is the same doubling, run on the transposed system from Abar^T C.
        transposed = system.transition.transpose(-1, -2)
        first = torch.einsum("dij,dj->di", transposed, system.readout[0])
        decaying = torch.einsum("dsl,bds->bld", powers(transposed, first, num_frames), state)
        filtered = convolve(features, kernel) + decaying + self.skip * features
        left_over = torch.einsum("dij,bdj->bdi", torch.linalg.matrix_power(system.transition, num_frames), state)
        arrived = torch.einsum("dsl,bld->bds", responses.flip(-1), features)
        return self._mix(filtered), left_over + arrived

    def _mix(self, filtered: Tensor) -> Tensor:
        return F.glu(self.mix(self.dropout(F.gelu(filtered))), dim=-1)

    def _assert_causal(self) -> None:
        if self.bidirectional:
            raise ValueError("a bidirectional layer looks ahead and cannot run step by step: set bidirectional=False")


def powers(
    transition: Float[Tensor, "dim state state"], start: Float[Tensor, "dim state"], length: int
) -> Float[Tensor, "dim state length"]:
    """The vectors  transition^l start  for l = 0 .. length - 1, by doubling.

    In float64 inside: as products in TF32, which is what training takes on a GPU, errors double with the length and
    come to 6 % of a kernel.
    """
    columns, power = widest(start)[..., None], widest(transition)
    while columns.shape[-1] < length:
        columns = torch.cat([columns, power @ columns], dim=-1)
        if columns.shape[-1] < length:
            power = power @ power
    return columns[..., :length].to(start.dtype)


def widest(tensor: Float[Tensor, "*axes"]) -> Float[Tensor, "*axes"]:
    """In float64, where the device has it."""
    return tensor if tensor.device.type == "mps" else tensor.double()


def convolve(
    features: Float[Tensor, "batch frame dim"], kernel: Float[Tensor, "direction dim frame"]
) -> Float[Tensor, "batch frame dim"]:
    """Filters every feature with its own kernel, forwards and, with a second kernel row, backwards as well.

    y_t = sum_{s <= t} k0[t - s] u_s + sum_{s > t} k1[s - t - 1] u_s; the frame itself belongs to the forward sum.
    """
    num_frames = features.shape[1]
    if torch.compiler.is_exporting():
        return convolve_directly(features, kernel)
    size = fast_fft_length(2 * num_frames)
    two_sided = F.pad(kernel[0], (0, size - num_frames))
    if kernel.shape[0] == 2:
        two_sided = two_sided + F.pad(kernel[1].flip(-1), (size - num_frames, 0))
    spectrum = torch.fft.rfft(features.transpose(1, 2), n=size) * torch.fft.rfft(two_sided)
    return torch.fft.irfft(spectrum, n=size)[..., :num_frames].transpose(1, 2)


def convolve_directly(
    features: Float[Tensor, "batch frame dim"], kernel: Float[Tensor, "direction dim frame"]
) -> Float[Tensor, "batch frame dim"]:
    """As `convolve`, in real numbers and for any number of frames: what is exported has no FFT."""
    num_frames, dim = features.shape[1], features.shape[2]
    # Correlation with the kernel turned round: k0 lies before the frame, k1 behind it.
    both = kernel[0].flip(-1)
    if kernel.shape[0] == 2:
        both = torch.cat([both, kernel[1][:, : num_frames - 1]], dim=-1)
    behind = num_frames - 1 if kernel.shape[0] == 2 else 0
    padded = F.pad(features.transpose(1, 2), (num_frames - 1, behind))
    return F.conv1d(padded, both[:, None], groups=dim).transpose(1, 2)


def hippo_legs(
    state_dim: int,
) -> tuple[Complex[Tensor, " mode"], Complex[Tensor, " mode"], Complex[Tensor, " mode"]]:
    """Eigenvalues, low-rank vector and input vector of HiPPO-LegS, for the half of the modes with negative frequency.

    The LegS matrix is normal up to rank one: A + P P^T = -1/2 I + skew. In the eigenbasis V of that skew part,
    A = V (lambda - p p^*) V^* with p = V^* P and b = V^* B. Computed in float64.
    """
    n = torch.arange(state_dim, dtype=torch.float64)
    roots = torch.sqrt(2 * n + 1)
    matrix = -torch.tril(torch.outer(roots, roots), diagonal=-1) - torch.diag(n + 1)
    low_rank = torch.sqrt(n + 0.5)
    normal = matrix + torch.outer(low_rank, low_rank)
    skew = normal + 0.5 * torch.eye(state_dim, dtype=torch.float64)
    frequencies, basis = torch.linalg.eigh(-1j * skew.to(torch.complex128))
    half = basis[:, : state_dim // 2]
    eigenvalues = torch.complex(torch.full((state_dim // 2,), -0.5, dtype=torch.float64), frequencies[: state_dim // 2])
    return eigenvalues, half.conj().T @ low_rank.to(half.dtype), half.conj().T @ roots.to(half.dtype)


def diagonal_eigenvalues(kind: StateSpaceKind, state_dim: int) -> Complex[Tensor, " mode"]:
    """Initial eigenvalues of the S4D family (half of the conjugate pairs)."""
    n = torch.arange(state_dim // 2, dtype=torch.float64)
    half = torch.full_like(n, -0.5)
    match kind:
        case "s4d-legs":
            return hippo_legs(state_dim)[0]
        case "s4d-lin":
            return torch.complex(half, math.pi * n)
        case "s4d-inv":
            return torch.complex(half, state_dim / math.pi * (state_dim / (2 * n + 1) - 1))
        case "s4d-real":
            return torch.complex(-(n + 1), torch.zeros_like(n))
        case "s4":
            raise ValueError("'s4' is not diagonal; use HippoStateSpace")


def as_complex(parts: Float[Tensor, "*axes 2"]) -> Complex[Tensor, "*axes"]:
    return torch.complex(parts[..., 0], parts[..., 1])


def as_real_matrix(
    own: Complex[Tensor, "dim mode mode"], crossed: Complex[Tensor, "dim mode mode"]
) -> Float[Tensor, "dim state state"]:
    """The map  z -> own z + crossed conj(z)  as a matrix on (Re z, Im z)."""
    total, difference = own + crossed, own - crossed
    upper = torch.cat([total.real, -difference.imag], dim=-1)
    lower = torch.cat([total.imag, difference.real], dim=-1)
    return torch.cat([upper, lower], dim=-2)

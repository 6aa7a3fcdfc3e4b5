"""Recursive filters of a few poles, in products of matrices instead of sample after sample.

SciPy has the same (`sosfilt`), and all of `scipy.signal` takes as long to import as PyTorch, which who separates one
recording would wait for.
"""

from __future__ import annotations

import torch

from unbraid.axes import Float, Tensor

_BLOCK = 64
"""Samples whose products are one matrix."""


class RecursiveFilter:
    """Second-order sections one after the other, for a signal that arrives in pieces of any length; in float64.

    As a system with a state s, of two numbers for each section: s' = A s + B x, y = C s + D x. Over a block of L
    samples all of it is linear: outputs are a matrix times the block's input plus one times the state before it, and
    so is the state after it. States before the blocks of a piece come from each other by doubling.
    """

    def __init__(self, sections: Float[Tensor, "section 6"]) -> None:
        """Sections b0 b1 b2 a0 a1 a2 with a0 = 1."""
        step, entry, leave, direct = _system(sections.double())
        powers = [torch.eye(len(step), dtype=torch.float64)]
        for _ in range(_BLOCK):
            powers.append(step @ powers[-1])
        self._powers = torch.stack(powers)
        """A to the power of 0 to L."""
        self._from_state = leave @ self._powers[:-1]  # (sample, state)
        self._to_state = (self._powers[:-1].flip(0) @ entry).T  # (state, sample)
        response = torch.cat([direct[None], self._from_state[:-1] @ entry])
        later = torch.arange(_BLOCK)[:, None] - torch.arange(_BLOCK)
        self._from_input = response[later.clamp_min(0)] * (later >= 0)  # (sample out, sample in)
        self._state: Tensor | None = None

    def push(self, piece: Float[Tensor, "*axes sample"]) -> Float[Tensor, "*axes sample"]:
        """The filtered piece; what comes next goes on from it."""
        num_samples = piece.shape[-1]
        if num_samples == 0:
            return piece.double()
        state = self._state
        if state is None:
            state = piece.new_zeros(*piece.shape[:-1], len(self._powers[0]), dtype=torch.float64)
        num_blocks = -(-num_samples // _BLOCK)
        padded = piece.new_empty(*piece.shape[:-1], num_blocks * _BLOCK, dtype=torch.float64)
        padded[..., :num_samples] = piece
        padded[..., num_samples:] = 0
        blocks = padded.unflatten(-1, (num_blocks, _BLOCK))
        # From the state before the piece and what each block adds: the state before each block, and after the last.
        states = torch.cat([state.unsqueeze(-2), blocks @ self._to_state.T], dim=-2)
        power, reach = self._powers[-1], 1
        while reach < states.shape[-2]:
            carried = states[..., :-reach, :] @ power.T
            states = torch.cat([states[..., :reach, :], states[..., reach:, :] + carried], dim=-2)
            power, reach = power @ power, 2 * reach
        filtered = torch.addmm(
            states[..., :-1, :].reshape(-1, states.shape[-1]) @ self._from_state.T,
            blocks.reshape(-1, _BLOCK),
            self._from_input.T,
        )
        rest = num_samples - (num_blocks - 1) * _BLOCK
        last = blocks[..., -1, :rest] @ self._to_state[:, _BLOCK - rest :].T
        self._state = states[..., -2, :] @ self._powers[rest].T + last
        return filtered.view(padded.shape)[..., :num_samples]


def _system(sections: Float[Tensor, "section 6"]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """A (state, state), B (state,), C (state,) and D () of all sections, each in transposed direct form II."""
    size = 2 * len(sections)
    step, entry = torch.zeros(size, size, dtype=torch.float64), torch.zeros(size, dtype=torch.float64)
    # What goes into a section, of the states and of the signal.
    of_state, of_signal = torch.zeros(size, dtype=torch.float64), torch.ones((), dtype=torch.float64)
    for place, section in enumerate(sections.unbind(0)):
        b0, b1, b2, _, a1, a2 = section.unbind(0)
        first, second = 2 * place, 2 * place + 1
        out_of_state, out_of_signal = b0 * of_state, b0 * of_signal
        out_of_state[first] += 1
        step[first], step[second] = b1 * of_state - a1 * out_of_state, b2 * of_state - a2 * out_of_state
        step[first, second] += 1
        entry[first], entry[second] = b1 * of_signal - a1 * out_of_signal, b2 * of_signal - a2 * out_of_signal
        of_state, of_signal = out_of_state, out_of_signal
    return step, entry, of_state, of_signal

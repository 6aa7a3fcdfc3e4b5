"""GRU and LSTM as one operation of an exported program, for any number of frames.

PyTorch's exporter follows its own layers frame by frame to find shapes, so that a program of them takes the number of
frames that it was traced with and no other.
"""

from __future__ import annotations

from functools import cache

import torch
from torch import nn

from unbraid.axes import Float, Tensor

GRU, LSTM = "unbraid::gru", "unbraid::lstm"


def recurrence(
    layer: nn.GRU | nn.LSTM, features: Float[Tensor, "batch frame dim"]
) -> Float[Tensor, "batch frame state"]:
    """What a layer of one level says of the features, from states of zeros; without a gradient."""
    # By name, for those that the layer keeps in a list are not the ones that an exporter has put in their places.
    weights = [weight for direction in layer.all_weights for weight in direction]
    state = features.new_zeros(2 if layer.bidirectional else 1, features.shape[0], layer.hidden_size)
    gru, lstm = _register()
    if isinstance(layer, nn.LSTM):
        return lstm(features, state, state, weights, layer.bidirectional)[0]
    return gru(features, state, weights, layer.bidirectional)[0]


@cache
def _register() -> tuple[torch.library.CustomOpDef, torch.library.CustomOpDef]:
    """Only when something is exported, so that nobody else waits for it."""
    features, weights = "Tensor features", "Tensor[] weights, bool bidirectional"

    @torch.library.custom_op(GRU, mutates_args=(), schema=f"({features}, Tensor state, {weights}) -> (Tensor, Tensor)")
    def gru(features, state, weights, bidirectional):
        return torch.gru(features, state, weights, True, 1, 0.0, False, bidirectional, True)

    @torch.library.custom_op(
        LSTM, mutates_args=(), schema=f"({features}, Tensor state, Tensor cell, {weights}) -> (Tensor, Tensor, Tensor)"
    )
    def lstm(features, state, cell, weights, bidirectional):
        return torch.lstm(features, (state, cell), weights, True, 1, 0.0, False, bidirectional, True)

    @gru.register_fake
    def _(features, state, weights, bidirectional):
        return _states(features, state), torch.empty_like(state)

    @lstm.register_fake
    def _(features, state, cell, weights, bidirectional):
        return _states(features, state), torch.empty_like(state), torch.empty_like(cell)

    return gru, lstm


def _states(features: Tensor, state: Tensor) -> Tensor:
    return features.new_empty(features.shape[0], features.shape[1], state.shape[0] * state.shape[2])

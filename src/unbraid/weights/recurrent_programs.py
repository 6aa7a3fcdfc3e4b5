"""Recurrent layers of exported programs, in the words of those who read them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from unbraid.layers.kernels.recurrent_op import GRU, LSTM

# has_biases, num_layers, dropout, train; and at the end batch_first.
_SETTINGS = (True, 1, 0.0, False)


def with_pytorch_layers(program: torch.export.ExportedProgram) -> torch.export.ExportedProgram:
    """The program with PyTorch's own operations for ours, so that it runs without unbraid."""
    for node in program.graph.nodes:
        name = getattr(node.target, "namespace", "") and node.target.name().split(".")[0]
        if name == GRU:
            features, state, weights, bidirectional = node.args
            node.target = torch.ops.aten.gru.input
            node.args = (features, state, weights, *_SETTINGS, bidirectional, True)
        elif name == LSTM:
            features, state, cell, weights, bidirectional = node.args
            node.target = torch.ops.aten.lstm.input
            node.args = (features, [state, cell], weights, *_SETTINGS, bidirectional, True)
    program.graph_module.recompile()
    return program


def onnx_translations(program: torch.export.ExportedProgram) -> dict[Callable[..., Any], Callable[..., Any]]:
    """Our operations that are in the program, and who writes ONNX for them."""
    from onnxscript.function_libs.torch_lib.ops import core

    def gru(features, state, weights, bidirectional):
        return core.aten_gru(features, state, weights, *_SETTINGS, bidirectional, True)

    def lstm(features, state, cell, weights, bidirectional):
        return core.aten_lstm(features, [state, cell], weights, *_SETTINGS, bidirectional, True)

    writers = {GRU: gru, LSTM: lstm}
    targets = {node.target for node in program.graph.nodes if getattr(node.target, "namespace", "") == "unbraid"}
    return {target: writers[target.name().split(".")[0]] for target in targets}

"""ONNX files with weights of fewer bits."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

Precision = Literal["float32", "float16", "int8"]
"""Of weights in ONNX. float16 halves the file, and is widened to float32 when it is read; int8 rounds the weights of
products of matrices, and their inputs as they come, and multiplies whole numbers."""

_LEAST_HALVED = 256
"""ours: smaller tensors, as norms have them, stay as they are."""


def change_precision(path: Path, precision: Precision, *, fixed: Collection[str]) -> None:
    """Rewrites a file of float32; `fixed` are the names of tensors in it that were not trained."""
    import onnx

    if precision == "float32":
        return
    model = onnx.load(path)
    if precision == "float16":
        _halve_weights(model.graph)
    else:
        said = {entry.key: entry.value for entry in model.metadata_props}
        with without_remarks():
            _quantise(path, model, set(fixed))
        model = onnx.load(path)
        del model.metadata_props[:]
        for key, value in said.items():
            entry = model.metadata_props.add()
            entry.key, entry.value = key, value
    path.write_bytes(model.SerializeToString())


def _quantise(path: Path, model: Any, fixed: set[str]) -> None:
    """Products of matrices in 8 bits, but for those with a fixed one.

    A fixed one measures, as the filterbank does its powers: they reach over 100 dB, where 8 bits reach over 48.
    """
    from onnxruntime.quantization import QuantType, quantize_dynamic

    kinds = ["MatMul", "Gemm"]
    measuring = [node.name for node in model.graph.node if node.op_type in kinds and fixed.intersection(node.input)]
    quantize_dynamic(path, path, weight_type=QuantType.QInt8, op_types_to_quantize=kinds, nodes_to_exclude=measuring)


def _halve_weights(graph: Any) -> None:
    """Stores weights in 16 bits, and widens them again before they are used: activations need the range of 32."""
    from onnx import TensorProto, helper, numpy_helper

    widened = []
    for stored in graph.initializer:
        weights = numpy_helper.to_array(stored)
        if stored.data_type != TensorProto.FLOAT or weights.size < _LEAST_HALVED:
            continue
        name = stored.name
        stored.CopyFrom(numpy_helper.from_array(weights.astype("float16"), f"{name}_half"))
        widened.append(helper.make_node("Cast", [f"{name}_half"], [name], to=TensorProto.FLOAT))
    nodes = [*widened, *graph.node]
    del graph.node[:]
    graph.node.extend(nodes)


@contextmanager
def without_remarks() -> Iterator[None]:
    """Without the exporter's remarks on packages that it looks for in vain."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)

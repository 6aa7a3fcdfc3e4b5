"""Models as programs that other runtimes read: ONNX, and PyTorch's own export.

The file carries the header of our weights files, so that it says by itself what its model takes and gives.
"""

from __future__ import annotations

import base64
import json
import tempfile
from collections.abc import Callable
from copy import deepcopy
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

import torch

from unbraid.axes import Tensor
from unbraid.errors import ConfigError, MissingExtraError
from unbraid.files.json_text import entries, member, of_kind
from unbraid.files.pending import PendingFile, write_pending
from unbraid.models.catalog import architecture_name, config_of
from unbraid.models.contract import SeparationModel
from unbraid.models.exporting import ExportableCore, exportable_core, replace_core, trace_core
from unbraid.weights.precision import Precision, change_precision, without_remarks
from unbraid.weights.recurrent_programs import onnx_translations, with_pytorch_layers

ProgramFormat = Literal["onnx", "torch-export"]
_MOST_DIFFERENCE: dict[Precision, float] = {"float32": 1e-4, "float16": 1e-2, "int8": 0.5}
"""ours: RMS of the difference to the model over that of the model's output; random weights differ by a tenth of it."""
_MOST_FOLDED = 2**24
"""Numbers in a constant that is computed at export; a weight that is turned round at every run has no int8 form."""

ENDINGS: dict[ProgramFormat, str] = {"onnx": ".onnx", "torch-export": ".pt2"}


def export_program(
    model: SeparationModel, path: Path, kind: ProgramFormat, *, name: str, precision: Precision = "float32"
) -> Path:
    """Writes the core of a model as a program, whole or not at all; ConfigError where it does not export."""
    if path.suffix != ENDINGS[kind]:
        raise ConfigError(f"{path} does not end in {ENDINGS[kind]}", remedy="give it that ending")
    if kind == "torch-export" and precision != "float32":
        raise ConfigError("only ONNX is written in another precision than float32")
    core = exportable_core(model)
    header = json.dumps(_header(model, core, name))
    with tempfile.TemporaryDirectory() as folder:
        made = Path(folder, f"model{ENDINGS[kind]}")
        if kind == "onnx":
            _write_onnx(core, made, header, precision)
        else:
            program = with_pytorch_layers(trace_core(core))
            check_program(core, program.module(), precision)
            torch.export.save(program, made, extra_files={"unbraid": header})
        pending = PendingFile(path)
        try:
            write_pending(pending, made.read_bytes())
        finally:
            pending.discard()
    return path


def _header(model: SeparationModel, core: ExportableCore, name: str) -> dict[str, Any]:
    config = config_of(model)
    return {
        "name": name,
        "architecture": architecture_name(config),
        "config": asdict(config),
        "spec": asdict(model.spec),
        "most_frames": core.most_frames,
        "least_frames": core.least_frames,
        "frame_axis": max(core.free),
        "around": weights_around(model),
    }


def weights_around(model: SeparationModel) -> dict[str, Any]:
    """Weights that stay outside the core, such as S4M's encoder and decoder: name -> shape and float32 in base64."""
    shell = deepcopy(model)
    replace_core(shell, lambda features: features)
    return {
        key: {
            "shape": list(tensor.shape),
            "float32": base64.b64encode(tensor.detach().float().contiguous().numpy().tobytes()).decode(),
        }
        for key, tensor in shell.state_dict().items()
    }


def read_weights_around(header: dict[str, Any]) -> dict[str, torch.Tensor]:
    """The weights that `export_program` wrote into the header; JsonError or ValueError where they are damaged."""
    tensors = {}
    for key, stored in member(header, "around", dict).items():
        content = base64.b64decode(member(of_kind(stored, dict, key), "float32", str), validate=True)
        tensors[key] = torch.frombuffer(bytearray(content), dtype=torch.float32).reshape(entries(stored, "shape", int))
    return tensors


def _write_onnx(core: ExportableCore, path: Path, header: str, precision: Precision) -> None:
    try:
        import onnx
        import onnxruntime
        from onnx_ir.passes import common as passes
        from onnxscript import optimizer
    except ModuleNotFoundError as error:
        raise MissingExtraError(error.name or "onnx", "onnx", "writing ONNX files") from error
    with without_remarks():
        # Not the exporter's own optimisation: it takes a sum with 1e-8 or less for one with zero, and with it goes
        # what keeps the norm and the logarithm of silence finite. onnxruntime simplifies what it loads by itself.
        traced = trace_core(core)
        try:
            program = torch.onnx.export(
                traced,
                dynamo=True,
                custom_translation_table=onnx_translations(traced),
                optimize=False,
                verbose=False,
                input_names=[core.input_name],
                output_names=["estimates"],
            )
        except torch.onnx.OnnxExporterError as error:
            reason = str(error).rsplit("No ONNX function", 1)[-1].split("⬆️")[0].strip()
            raise ConfigError(f"this model does not export to ONNX: {' '.join(reason.split())[:200]}") from error
        assert program is not None
        # First what is written twice, as a weight that every round turns round: folded, each were a weight of its own.
        passes.CommonSubexpressionEliminationPass()(program.model)
        optimizer.fold_constants(program.model, input_size_limit=_MOST_FOLDED, output_size_limit=_MOST_FOLDED)
        passes.LiftConstantsToInitializersPass(lift_all_constants=True, size_limit=0)(program.model)
        passes.DeduplicateInitializersPass()(program.model)
        passes.RemoveUnusedNodesPass()(program.model)
        program.save(str(path))
    model = onnx.load(path)
    entry = model.metadata_props.add()
    entry.key, entry.value = "unbraid", header
    path.write_bytes(model.SerializeToString())
    change_precision(path, precision, fixed={name for name, _ in core.module.named_buffers()})
    session = onnxruntime.InferenceSession(path.read_bytes(), providers=["CPUExecutionProvider"])
    check_program(
        core, lambda features: torch.from_numpy(session.run(None, {core.input_name: features.numpy()})[0]), precision
    )


def check_program(core: ExportableCore, run: Callable[[Tensor], Tensor], precision: Precision) -> None:
    """Refuses a program that gives other numbers than the model: silence and noise go through both, the latter with
    other numbers of rows and frames as well."""
    for features in (torch.zeros_like(core.example), *core.inputs()):
        with torch.inference_mode():
            expected = core.module(features)
            try:
                made = run(features)
            except Exception as error:  # PyTorch's guards and onnxruntime have a kind of their own for each
                raise ConfigError(
                    "this model becomes a program for the sizes of its example only", remedy="export another form of it"
                ) from error
        if not made.isfinite().all():
            raise ConfigError(f"this model gives no finite numbers in {precision}", remedy="choose another precision")
        difference = float((made - expected).square().mean().sqrt())
        if difference > _MOST_DIFFERENCE[precision] * float(expected.square().mean().sqrt()):
            raise ConfigError(
                f"this model as a program in {precision} gives other numbers than the model",
                remedy="choose another precision",
            )

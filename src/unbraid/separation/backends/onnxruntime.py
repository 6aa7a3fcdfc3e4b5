"""Models whose core onnxruntime runs; what lies around it is the model's own."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch.nn import functional as F

from unbraid import __version__
from unbraid.axes import Float, Tensor
from unbraid.errors import MissingExtraError, SignalError, WeightsError
from unbraid.files.cache import cache_folder
from unbraid.files.json_text import member, of_kind, parse_json
from unbraid.files.names import printable
from unbraid.models.catalog import ARCHITECTURES, build_model
from unbraid.models.contract import SeparationModel
from unbraid.models.exporting import replace_core
from unbraid.weights.portable import export_program, read_weights_around
from unbraid.weights.store import inspect_model, load_model, read_config


def load_with_onnxruntime(source: str | Path) -> SeparationModel:
    """A trained model by name or file; exported at its first use, below the user's cache folder."""
    path = Path(source)
    if path.suffix == ".onnx":
        return load_onnx(path)
    from filelock import FileLock

    stored = inspect_model(source)
    kept = cache_folder() / "onnx" / f"{stored.sha256[:32]}-{__version__}.onnx"
    kept.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{kept}.lock"):
        if not kept.is_file():
            export_program(load_model(source), kept, "onnx", name=stored.name)
    return load_onnx(kept)


def load_onnx(path: Path) -> SeparationModel:
    """The model in an ONNX file that `export_program` wrote; WeightsError for any other."""
    runtime = _runtime()
    if not path.is_file():
        raise WeightsError(f"there is no file {printable(path)}", remedy="check the name")
    options = runtime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    # Threads that spin while they wait take the processor from everybody else.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 3
    try:
        session = runtime.InferenceSession(path.read_bytes(), options, providers=["CPUExecutionProvider"])
        header = of_kind(parse_json(session.get_modelmeta().custom_metadata_map["unbraid"]), dict, "header")
        config_class = ARCHITECTURES[member(header, "architecture", str)][0]
        model = build_model(read_config(config_class, member(header, "config", dict), path))
        replace_core(model, SessionCore(session, header))
        model.load_state_dict(read_weights_around(header))
        # What was measured best for these weights is theirs and not their architecture's.
        kept = {key: value for key, value in member(header, "spec", dict).items() if key.startswith("refine")}
        model.spec = replace(model.spec, **kept)
        _try_out(model)
    except WeightsError:
        raise
    except KeyError as error:
        raise WeightsError(
            "was not written by unbraid", subject=printable(path), remedy="write it with  unbraid models export"
        ) from error
    except Exception as error:
        reason = " ".join(str(error).split())[:150]
        raise WeightsError(f"is no ONNX file that runs here: {reason}", subject=printable(path)) from error
    return model.eval()


def _try_out(model: SeparationModel) -> None:
    """Whether the header and the program of a file belong together: a tenth of a second of silence goes through."""
    mixture = torch.zeros(1, model.spec.num_channels, model.spec.sample_rate // 10)
    with torch.inference_mode():
        estimates = model(mixture)
    expected = (1, len(model.spec.sources), *mixture.shape[1:])
    if estimates.shape != expected:
        raise ValueError(f"its program gives estimates of {tuple(estimates.shape)} instead of {expected}")


class SessionCore:
    """A core that a session of onnxruntime computes."""

    def __init__(self, session: Any, header: dict[str, Any]) -> None:
        self.session, self.input_name = session, session.get_inputs()[0].name
        self.most_frames: int | None = header.get("most_frames")
        # Files of before there were these two have the values here.
        header = {"least_frames": 1, "frame_axis": 1} | header
        self.least_frames, self.frame_axis = member(header, "least_frames", int), member(header, "frame_axis", int)

    def __call__(self, features: Float[Tensor, "*axes"]) -> Float[Tensor, "*axes_out"]:
        num_frames = features.shape[self.frame_axis]
        if self.most_frames is not None and num_frames > self.most_frames:
            raise SignalError(
                f"this ONNX file takes at most {self.most_frames} frames at once, not {num_frames}",
                remedy="choose smaller `segment_seconds`, or the backend torch",
            )
        if num_frames < self.least_frames:
            # Programs with such a limit take and give samples, which are the last axis of both.
            return self(F.pad(features, (0, self.least_frames - num_frames)))[..., :num_frames]
        try:
            outputs = self.session.run(None, {self.input_name: features.detach().contiguous().numpy()})
        except Exception as error:  # onnxruntime has a kind of its own for each
            reason = " ".join(str(error).split())[:150]
            raise WeightsError(
                f"the program of this ONNX file does not run: {reason}", remedy="export it anew"
            ) from error
        return torch.from_numpy(outputs[0])


def _runtime() -> ModuleType:
    try:
        import onnxruntime
    except ModuleNotFoundError as error:
        raise MissingExtraError("onnxruntime", "onnx", "the backend onnxruntime") from error
    return onnxruntime

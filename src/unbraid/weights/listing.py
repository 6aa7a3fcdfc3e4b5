"""What `unbraid models list` says, read from files: no model is built, and torch is not needed.

What a preset amounts to lies beside this file; after a change of presets  python -m unbraid.weights.listing  writes it
anew, and a test says so where that was forgotten.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

PRETRAINED = Path(__file__).parent / "pretrained"
LIVE_MODEL = "speech-live"
"""What separates live where no model is named."""
FIGURES = Path(__file__).with_name("presets.json")
_SPEC_KEYS = ("sample_rate", "num_channels", "sources", "exchangeable")


def bundled_models() -> list[str]:
    return sorted(path.stem for path in PRETRAINED.glob("*.safetensors"))


def list_entries() -> dict[str, list[dict[str, Any]]]:
    """Bundled models ("models") and presets, each with its figures."""
    return {"models": [bundled_entry(name) for name in bundled_models()], "presets": json.loads(FIGURES.read_text())}


def bundled_entry(name: str) -> dict[str, Any]:
    """The figures of a bundled model, from the head of its weights file."""
    with open(PRETRAINED / f"{name}.safetensors", "rb") as file:
        tensors = json.loads(file.read(int.from_bytes(file.read(8), "little")))
    header = json.loads(tensors.pop("__metadata__")["unbraid"])
    weights = [entry["shape"] for key, entry in tensors.items() if ".running_" not in f".{key}"]
    return {
        "name": name,
        "architecture": header["architecture"],
        "parameters": sum(map(math.prod, weights)),
        "sha256": header["sha256"],
        **{key: header["spec"][key] for key in _SPEC_KEYS},
    }


def measure_presets() -> list[dict[str, Any]]:
    """The figures of all presets, from models that are built without memory for their weights."""
    import torch

    from unbraid.models.catalog import PRESETS, architecture_name, build_model

    entries = []
    for name, config in sorted(PRESETS.items()):
        with torch.device("meta"):
            model = build_model(config)
        entries.append(
            {
                "name": name,
                "architecture": architecture_name(config),
                "parameters": sum(parameter.numel() for parameter in model.parameters()),
                "sha256": None,
                "sample_rate": model.spec.sample_rate,
                "num_channels": model.spec.num_channels,
                "sources": list(model.spec.sources),
                "exchangeable": model.spec.exchangeable,
            }
        )
    return entries


if __name__ == "__main__":
    FIGURES.write_text("[\n" + ",\n".join(json.dumps(entry) for entry in measure_presets()) + "\n]\n")

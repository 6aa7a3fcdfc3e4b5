"""What `unbraid models` reads and writes: facts of models as data, and files of weights."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from unbraid.errors import AudioReadError, ConfigError
from unbraid.models.catalog import PRESETS, architecture_name, build_model
from unbraid.models.contract import SeparationModel
from unbraid.options import PositiveFloat, check_option
from unbraid.weights.store import PRETRAINED, bundled_models, inspect_model, save_model

if TYPE_CHECKING:
    import torch

    from unbraid.weights.portable import Precision, ProgramFormat

_CARD_LINES = 12


def describe(name: str) -> dict:
    """All that is known of a model, as data."""
    if name in PRESETS and name not in bundled_models() and not Path(name).is_file():
        model = build_model(name)
        config, architecture, stored = PRESETS[name], architecture_name(PRESETS[name]), None
    else:
        stored = inspect_model(name)
        model, config, architecture = build_model(stored.config), stored.config, stored.architecture
    card = PRETRAINED / f"{name}.md"
    text = card.read_text(encoding="utf-8") if card.is_file() else ""
    return {
        "name": stored.name if stored else name,
        "trained": stored is not None,
        "architecture": architecture,
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "path": str(stored.path) if stored else None,
        "sha256": stored.sha256 if stored else None,
        "facts": stored.facts if stored else {},
        "spec": asdict(model.spec),
        "config": asdict(config),
        "card": str(card) if text else None,
        "card_excerpt": "\n".join(text.splitlines()[:_CARD_LINES]) or None,
    }


def save(model: SeparationModel, out: Path, name: str, facts: dict[str, object], *, half: bool = False) -> None:
    """Writes a model and says so."""
    if out.suffix != ".safetensors":
        raise ConfigError(f"--out {out} does not end in .safetensors", remedy="give it that ending")
    save_model(model, out, name=name, facts=facts, half=half)
    typer.echo(f"{out}: {out.stat().st_size / 2**20:.2f} MiB", err=True)


def save_program(model: SeparationModel, out: Path, kind: ProgramFormat, name: str, precision: Precision) -> None:
    """Writes a model's core as a program and says so."""
    from unbraid.weights.portable import export_program

    export_program(model, out, kind, name=name, precision=precision)
    typer.echo(f"{out}: {out.stat().st_size / 2**20:.2f} MiB", err=True)


def show_attention(name: str, recording: Path, out: Path, seconds: float) -> list[Path]:
    """Writes what a model looks at in the first seconds of a recording, and returns the files."""
    from unbraid.inspection.attention import analyse_attention
    from unbraid.inspection.profile import build_or_load
    from unbraid.inspection.similarity import analyse_similarity
    from unbraid.models.mtfa.model import MTFA
    from unbraid.pictures.attention import write_attention
    from unbraid.pictures.similarity import write_similarity

    model = build_or_load(name)
    mixture = _beginning(recording, seconds, model)
    if isinstance(model, MTFA):
        return write_similarity(analyse_similarity(model, mixture), out)
    return write_attention(analyse_attention(model, mixture), out)


def show_spectrograms(name: str, recording: Path, out: Path, seconds: float, split_hz: float | None) -> list[Path]:
    """Writes spectrograms of a model's estimates of a recording's first seconds, and returns the files."""
    from unbraid.inspection.profile import build_or_load
    from unbraid.inspection.refinement import analyse_refinement
    from unbraid.pictures.refinement import write_refinement

    model = build_or_load(name)
    return write_refinement(analyse_refinement(model, _beginning(recording, seconds, model), split_hz), out)


def fit_bands(model: SeparationModel, num_bands: int | None, sample_rate: int | None) -> SeparationModel:
    """An SFC with another number of bands or for another rate, with the same weights."""
    from unbraid.models.sfc.model import SFC
    from unbraid.models.sfc.resizing import resized

    if not isinstance(model, SFC):
        raise ConfigError(f"{type(model).__name__} has no bands", remedy="--bands and --rate are for models of SFC")
    return resized(model, num_bands=num_bands, sample_rate=sample_rate)


def _beginning(recording: Path, seconds: float, model: SeparationModel) -> torch.Tensor:
    """The first seconds of a recording, with the rate and the channels that a model takes."""
    import torch

    from unbraid.audio.reading import open_audio
    from unbraid.audio.recording import Recording
    from unbraid.separation.channels import gather_group

    check_option("seconds", seconds, PositiveFloat)
    with open_audio(recording) as reader:
        rate = reader.info.sample_rate
        samples = next(reader.blocks(max(1, round(seconds * rate))), None)
    if samples is None:
        raise AudioReadError("holds no samples", subject=f"{recording}", remedy="give a recording that does")
    heard = torch.from_numpy(Recording(samples, rate).resampled(model.spec.sample_rate).samples)
    wanted = model.spec.num_channels
    if wanted == 1:
        heard = heard.mean(dim=0, keepdim=True)
    return gather_group(heard, tuple(range(min(len(heard), wanted))), wanted)

"""`unbraid models`: what there is, what it is, and getting weights out and in."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from unbraid.cli.messages import make_console, print_json
from unbraid.cli.options import AsJson, flag
from unbraid.errors import ConfigError, UnknownNameError, WeightsError

if TYPE_CHECKING:
    from unbraid.models.contract import SeparationModel

models = typer.Typer(
    name="models",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    no_args_is_help=True,
    help="Lists models, shows them, and brings weights out and in.",
    rich_markup_mode="rich",
)

_CARD_LINES = 12


@models.command("list")
def list_models(json: AsJson = False) -> None:
    """Lists the models that separate, and the presets that can be trained.

    [bold]Examples[/bold]

    unbraid models list
    unbraid models list --json
    """
    if json:
        print_json(_catalog())
    else:
        print_models()


@models.command("show")
def show_model(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Model, preset, or .safetensors file.")],
    json: AsJson = False,
) -> None:
    """Shows what a model takes and gives, its settings, size and card.

    [bold]Examples[/bold]

    unbraid models show speech
    unbraid models show runs/speech/best.safetensors --json
    """
    data = describe(name)
    if json:
        print_json(data)
        return
    console = make_console()
    spec = data["spec"]
    kind = "trained model" if data["trained"] else "preset (random weights)"
    console.print(f"[bold]{data['name']}[/bold], {kind}, architecture {data['architecture']}", style="default")
    console.print(f"  takes       {spec['num_channels']} channel(s) at {spec['sample_rate']} Hz, any length")
    order = "in any order" if spec["exchangeable"] else "in this order"
    console.print(f"  gives       {', '.join(spec['sources'])} ({order})")
    console.print(f"  parameters  {data['parameters']:,}")
    for key, title in (("path", "file"), ("sha256", "sha256"), ("facts", "facts"), ("card", "card")):
        if data[key]:
            console.print(f"  {title:<11} {data[key]}", markup=False)
    console.print("  settings")
    for key, value in data["config"].items():
        console.print(f"    {key} = {value}", markup=False)
    if data["card_excerpt"]:
        console.print()
        console.print(data["card_excerpt"], markup=False)


@models.command("export")
def export_model(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Model or .safetensors file.")],
    out: Annotated[Path, typer.Option("--out", "-o", metavar="FILE", help="File to write, ending in .safetensors.")],
    half: Annotated[bool, flag("--half", "Store 16 bits a weight: half the size.")] = False,
) -> None:
    """Writes a model as one file that carries its settings and its hash.

    [bold]Examples[/bold]

    unbraid models export speech --out speech.safetensors
    unbraid models export runs/speech/best.safetensors --half --out small.safetensors
    """
    from unbraid.weights.store import inspect_model, load_model

    stored = inspect_model(name)
    _save(load_model(name), out, stored.name, stored.facts, half=half)


@models.command("import")
def import_model(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Foreign weights as .safetensors.")],
    preset: Annotated[str, typer.Option(metavar="NAME", help="The preset that the weights belong to.")],
    out: Annotated[Path, typer.Option("--out", "-o", metavar="FILE", help="File to write, ending in .safetensors.")],
    source: Annotated[
        str, typer.Option("--from", metavar="FORMAT", help="Whose weights: s4m-authors.")
    ] = "s4m-authors",
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Setting of the model in which it differs from the preset."),
    ] = None,
) -> None:
    """Turns weights of other projects into a file of ours.

    Formats: s4m-authors, a state dict of the published S4M code.
    Pickled files (.pt, .pth, .ckpt, .bin) are refused, because reading one
    runs whatever program it holds. Convert a file that you trust in Python:

    import torch, safetensors.torch
    state = torch.load("m.pt", weights_only=True)
    safetensors.torch.save_file(state, "m.safetensors")

    [bold]Examples[/bold]

    unbraid models import m.safetensors --preset s4m-tiny --out my.safetensors
    unbraid models import m.safetensors --preset s4m-tiny --set fusion=previous --out my.safetensors
    """
    if source != "s4m-authors":
        raise UnknownNameError(f"there is no format '{source}'; there is: s4m-authors")
    from unbraid.cli.overrides import apply_overrides
    from unbraid.models.catalog import build_model, preset_config
    from unbraid.weights.adapters.s4m_authors import convert

    tensors = read_foreign(file)
    model = build_model(apply_overrides(preset_config(preset), set_ or []))
    try:
        model.load_state_dict(convert(tensors))
    except (RuntimeError, KeyError) as error:
        detail = " ".join(str(error).split())[:300]
        raise WeightsError(
            f"{file} does not fit the preset '{preset}': choose another --preset or change it with --set ({detail})"
        ) from error
    _save(model, out, out.stem, {"imported_from": "s4m-authors", "file": file.name})


def read_foreign(file: Path) -> dict:
    """The tensors of a safetensors file; anything that would have to be unpickled is refused."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    if not file.is_file():
        raise WeightsError(f"there is no file {file}: check the name")
    with open(file, "rb") as opened:
        head = opened.read(4)
    if head[:2] == b"PK" or head[:1] == b"\x80" or file.suffix in (".pt", ".pth", ".ckpt", ".bin", ".pkl"):
        raise WeightsError(
            f"{file} is a pickle, and reading a pickle runs whatever program it holds: if you trust it, convert it to "
            "safetensors as  unbraid models import --help  shows"
        )
    try:
        return load_file(file)
    except (SafetensorError, OSError) as error:
        raise WeightsError(f"{file} is not a safetensors file ({error}): convert it first") from error


def print_models() -> None:
    """The catalog as text, on stdout."""
    from rich.table import Table

    catalog = _catalog()
    console = make_console()
    for title, entries in (("Models, ready to separate", catalog["models"]), ("Presets, to train", catalog["presets"])):
        table = Table(box=None, padding=(0, 2), title=title, title_justify="left", header_style="dim")
        for heading in ("name", "gives", "rate", "channels"):
            table.add_column(heading)
        for entry in entries:
            sources = ", ".join(entry["sources"])
            table.add_row(entry["name"], sources, f"{entry['sample_rate']} Hz", str(entry["num_channels"]))
        if not entries:
            table.add_row("none", "", "", "")
        console.print(table)


def describe(name: str) -> dict:
    """All that is known of a model, as data."""
    from dataclasses import asdict

    from unbraid.models.catalog import PRESETS, architecture_name, build_model
    from unbraid.weights.store import PRETRAINED, bundled_models, inspect_model

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
        "parameters": _count_parameters(model),
        "path": str(stored.path) if stored else None,
        "sha256": stored.sha256 if stored else None,
        "facts": stored.facts if stored else {},
        "spec": asdict(model.spec),
        "config": asdict(config),
        "card": str(card) if text else None,
        "card_excerpt": "\n".join(text.splitlines()[:_CARD_LINES]) or None,
    }


def _catalog() -> dict[str, list[dict]]:
    from unbraid.models.catalog import PRESETS
    from unbraid.weights.store import bundled_models

    def entry(name: str) -> dict:
        data = describe(name)
        spec = data["spec"]
        return {
            "name": name,
            "architecture": data["architecture"],
            "parameters": data["parameters"],
            "sha256": data["sha256"],
            **{key: spec[key] for key in ("sample_rate", "num_channels", "sources", "exchangeable")},
        }

    return {"models": [entry(name) for name in bundled_models()], "presets": [entry(name) for name in sorted(PRESETS)]}


def _count_parameters(model: SeparationModel) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


def _save(model: SeparationModel, out: Path, name: str, facts: dict[str, object], *, half: bool = False) -> None:
    from unbraid.audio.pending import writing_to
    from unbraid.weights.store import save_model

    if out.suffix != ".safetensors":
        raise ConfigError(f"--out {out} does not end in .safetensors: give it that ending")
    with writing_to(f"'{out}'"):
        out.parent.mkdir(parents=True, exist_ok=True)
        save_model(model, out, name=name, facts=facts, half=half)
    typer.echo(f"{out}: {out.stat().st_size / 2**20:.2f} MiB", err=True)

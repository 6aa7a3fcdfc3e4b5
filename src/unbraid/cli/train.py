"""`unbraid train`: runs a recipe, continues a run, or starts from a trained model."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from unbraid.cli.messages import complain
from unbraid.cli.options import flag
from unbraid.errors import ConfigError, MissingExtraError, UnknownNameError, did_you_mean

if TYPE_CHECKING:
    from unbraid.recipes.recipe import Recipe
    from unbraid.training.config import TrainingConfig

_MACHINES = "Machines"


def find_recipe(name: str) -> Recipe:
    """The recipe of that name; where there is none, those that are called nearly so."""
    from unbraid.recipes import RECIPES

    if name not in RECIPES:
        hint = did_you_mean(name, RECIPES) or "unbraid train --list  shows what there is"
        raise UnknownNameError(f"there is no recipe '{name}': {hint}")
    return RECIPES[name]


def _list_recipes(wanted: bool) -> bool:
    if wanted:
        from unbraid.cli.tables import make_console, make_table
        from unbraid.recipes import RECIPES

        table = make_table("recipe", "model", "data", "steps", "what it is", numbers_from=100)
        for name, recipe in RECIPES.items():
            table.add_row(name, recipe.model, recipe.data, f"{recipe.config.steps:,}", recipe.row)
        make_console().print(table)
        raise typer.Exit
    return wanted


def train(
    recipe: Annotated[
        str | None, typer.Argument(metavar="RECIPE", help="Name of a recipe, see --list.", show_default=False)
    ] = None,
    data: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Folder of the data set, or a list.", show_default=False)
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", metavar="DIR", help="Folder of the run; by default runs/RECIPE.")
    ] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Change a setting of the recipe; repeat it for more."),
    ] = None,
    resume: Annotated[bool, flag("--resume", "Continue the run that --out holds.")] = False,
    init: Annotated[
        str | None,
        typer.Option(metavar="MODEL", help="Start from the weights of this model: a bundled name or a file."),
    ] = None,
    precision: Annotated[
        Literal["auto", "float32", "bfloat16"] | None,
        typer.Option(help="Of products, in the place of the recipe's; auto takes bfloat16 on GPUs that have it."),
    ] = None,
    compile_: Annotated[bool, flag("--compile", "Compile the model; the first steps wait for it.")] = False,
    settings: Annotated[bool, flag("--settings", "Print all settings of the recipe and exit.")] = False,
    smoke: Annotated[
        bool, flag("--smoke", "Try the recipe in seconds: a tiny model, synthetic data, three steps.")
    ] = False,
    list_: Annotated[
        bool, flag("--list/-l", "List the recipes and exit.", callback=_list_recipes, is_eager=True)
    ] = False,
    accelerator: Annotated[
        str, typer.Option(metavar="KIND", help="auto, cpu, gpu or mps.", rich_help_panel=_MACHINES)
    ] = "auto",
    devices: Annotated[
        str,
        typer.Option(metavar="N", help="GPUs (or processes) per machine; auto takes all.", rich_help_panel=_MACHINES),
    ] = "1",
    nodes: Annotated[int, typer.Option(metavar="N", help="Number of machines.", rich_help_panel=_MACHINES)] = 1,
    strategy: Annotated[
        str,
        typer.Option(metavar="NAME", help="auto, ddp, fsdp, or another of Lightning's.", rich_help_panel=_MACHINES),
    ] = "auto",
) -> None:
    """Trains a model by a recipe; the best weights become a file for `unbraid separate -n`.

    The run can be stopped with Ctrl-C, or killed, at any time; --resume continues it bit-exactly.
    batch_size counts per device; every step sees batch_size x accumulate x devices x nodes examples.

    [bold]Examples[/bold]

    unbraid train --list
    unbraid train speech --smoke
    unbraid train speech --data corpus/
    unbraid train speech --data corpus/ --resume
    unbraid train speech --settings
    unbraid train speech --data corpus/ --set steps=2000 --set optimiser.learning_rate=5e-4
    unbraid train speech --data corpus/ --set schedule=HalveOnPlateau --set schedule.patience=3
    unbraid train speech --data mine/ --init speech --set lora.rank=8
    unbraid train speech --data corpus/ --devices 8 --set precision=bf16-mixed --set num_workers=4
    """
    from unbraid.cli.overrides import apply_overrides

    if recipe is None:
        raise ConfigError("no recipe is named:  unbraid train --list  shows what there is")
    config = find_recipe(recipe).config
    if smoke:
        from unbraid.recipes.smoke import smoke as smallest

        config = smallest(config)
    config = apply_overrides(config, [*_set_by_options(precision, compile_), *(set_ or [])])
    if settings:
        _print_settings(config)
        return
    folder = out or Path("runs", f"{recipe}-smoke" if smoke else recipe)
    with tempfile.TemporaryDirectory(prefix="unbraid-smoke-") as made:
        if smoke and data is None:
            from unbraid.recipes.smoke import make_data

            data = make_data(config, Path(made))
        if data is None:
            raise ConfigError("no data is named", remedy="add --data with the folder that holds the data set")
        best = _fit(config, data, folder, resume, init, accelerator, devices, nodes, strategy)
    if best is not None:
        complain(f"the best weights are in {best}; try  unbraid separate talk.wav -n {best}", kind="")


def _set_by_options(precision: str | None, compile_: bool) -> list[str]:
    """Options that stand for settings of a recipe, as those."""
    chosen = ["compile=true"] if compile_ else []
    if precision is not None:
        import torch

        from unbraid.separation.device import choose_device, choose_precision

        low = choose_precision(precision, choose_device()) == torch.bfloat16
        chosen.append(f"precision={'bf16-mixed' if low else '32-true'}")
    return chosen


def _fit(
    config: TrainingConfig,
    data: Path,
    folder: Path,
    resume: bool,
    init: str | None,
    accelerator: str,
    devices: str,
    nodes: int,
    strategy: str,
) -> Path | None:
    """The best weights; None in processes after the first, which have nothing to say."""
    if not (devices == "auto" or (devices.isdigit() and int(devices) > 0)):
        raise ConfigError(f"--devices {devices} is neither a number from 1 up nor auto")
    try:
        from unbraid.training.fit import Machines, fit, is_first_process
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package == "unbraid":
            raise
        raise MissingExtraError(package, "train", "training") from error
    machines = Machines(
        accelerator=accelerator,
        devices=int(devices) if devices.isdigit() else devices,
        nodes=nodes,
        strategy=strategy,
    )
    try:
        best = fit(config, data, folder, resume=resume, init=init, machines=machines)
        return best if is_first_process() else None
    except KeyboardInterrupt:
        raise KeyboardInterrupt(f"add --resume to continue the run in {folder}") from None


def _print_settings(config: object, prefix: str = "") -> None:
    """One line per setting, as --set takes it, with what its config says of it."""
    from collections.abc import Mapping
    from dataclasses import fields, is_dataclass

    by_name = isinstance(config, Mapping)
    settings = config if by_name else {field.name: getattr(config, field.name) for field in fields(config)}  # type: ignore[arg-type]
    for name, value in settings.items():
        if is_dataclass(value) or (isinstance(value, Mapping) and value):
            typer.echo(f"{prefix}{name}: {type(value).__name__ if is_dataclass(value) else 'by name'}")
            _print_settings(value, f"{prefix}{name}.")
        else:
            shown = ",".join(map(str, value)) if isinstance(value, tuple) else value
            typer.echo(f"  {prefix}{name}={shown}")

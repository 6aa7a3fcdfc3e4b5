"""`unbraid train`: runs a recipe, or goes on with a run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from unbraid.cli.messages import complain
from unbraid.cli.options import flag
from unbraid.errors import ConfigError, MissingExtraError, UnknownNameError


def _list_recipes(wanted: bool) -> bool:
    if wanted:
        from unbraid.recipes import RECIPES

        width = max(map(len, RECIPES))
        for name, recipe in RECIPES.items():
            typer.echo(f"{name:<{width}}  {(recipe.__doc__ or '').strip().splitlines()[0]}")
        raise typer.Exit
    return wanted


def train(
    recipe: Annotated[
        str | None, typer.Argument(metavar="RECIPE", help="Name of a recipe, see --list.", show_default=False)
    ] = None,
    data: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Folder that holds the corpus.", show_default=False)
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", metavar="DIR", help="Folder of the run; by default runs/RECIPE.")
    ] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Change a setting of the recipe; repeat it for more."),
    ] = None,
    resume: Annotated[bool, flag("--resume", "Go on with the run that --out holds.")] = False,
    list_: Annotated[
        bool, flag("--list/-l", "List the recipes and exit.", callback=_list_recipes, is_eager=True)
    ] = False,
) -> None:
    """Trains a model by a recipe; the best weights become a file for `unbraid separate -n`.

    The run can be stopped with Ctrl-C at any time and goes on with --resume.

    [bold]Examples[/bold]

    unbraid train --list
    unbraid train speech --data corpus/
    unbraid train speech --data corpus/ --set steps=2000 --set optimiser.learning_rate=5e-4
    unbraid train speech --data corpus/ --resume
    """
    from unbraid.cli.overrides import apply_overrides
    from unbraid.recipes import RECIPES

    if recipe is None:
        raise ConfigError(f"no recipe is named: choose one of {', '.join(RECIPES)}")
    if recipe not in RECIPES:
        raise UnknownNameError(f"there is no recipe '{recipe}'; there are: {', '.join(RECIPES)}")
    config = apply_overrides(RECIPES[recipe](), set_ or [])
    if data is None:
        raise ConfigError("no data is named: add --data with the folder that holds the corpus")
    folder = out or Path("runs", recipe)
    try:
        from unbraid.training.fit import fit
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package == "unbraid":
            raise
        raise MissingExtraError(package, "train", "training") from error
    try:
        best = fit(config, data, folder, resume=resume)
    except KeyboardInterrupt:
        raise KeyboardInterrupt(f"add --resume to go on with the run in {folder}") from None
    complain(f"the best weights are in {best}; try  unbraid separate talk.wav -n {best}", kind="")

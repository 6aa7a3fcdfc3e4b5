"""`unbraid models download`, `remove`, `where` and `push`: models that lie elsewhere."""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path
from typing import Annotated

import typer

from unbraid.cli.messages import complain, is_terminal
from unbraid.cli.models import models
from unbraid.cli.options import flag
from unbraid.errors import ConfigError

_NAME_HELP = "Published model, hf:owner/name[@revision][:place], or https address."


@models.command("download")
def download_model(
    name: Annotated[str, typer.Argument(metavar="NAME", help=_NAME_HELP)],
    yes: Annotated[bool, flag("--yes/-y", "Do not ask, even where no licence is stated.")] = False,
    offline: Annotated[bool, flag("--offline", "Use what is on this machine only.")] = False,
) -> None:
    """Fetches a model, so that it can be used without a network from then on.

    Files go into the cache of the Hugging Face hub, or below the cache folder of
    unbraid ($UNBRAID_CACHE); they are verified, and locked to what they were at the
    first download.

    [bold]Examples[/bold]

    unbraid models download htdemucs
    unbraid models download hf:speechbrain/sepformer-libri2mix
    """
    from unbraid.weights.published.models import download

    prepare_download(name, assume_yes=yes, offline=offline)
    typer.echo(download(name))


@models.command("remove")
def remove_model(name: Annotated[str, typer.Argument(metavar="NAME", help=_NAME_HELP)]) -> None:
    """Deletes what was downloaded for a model; the next use fetches what is published then.

    [bold]Examples[/bold]

    unbraid models remove htdemucs
    """
    from unbraid.weights.published.models import remove

    typer.echo(f"{name}: {remove(name) / 2**20:.1f} MiB freed", err=True)


@models.command("where")
def locate_model(
    name: Annotated[str, typer.Argument(metavar="NAME", help=f"Bundled model, file, {_NAME_HELP}")],
) -> None:
    """Shows where a model is on this machine: the file that is loaded, then those it was made from.

    [bold]Examples[/bold]

    unbraid models where speech
    unbraid models where htdemucs
    """
    from unbraid.weights.published.models import places
    from unbraid.weights.store import PRETRAINED

    bundled = PRETRAINED / f"{name}.safetensors"
    found = [bundled] if bundled.is_file() else places(name)
    if not found:
        raise ConfigError(f"'{name}' is not on this machine", remedy=f"try  unbraid models download {name}")
    for path in found:
        typer.echo(path)


@models.command("push")
def push_model(
    source: Annotated[str, typer.Argument(metavar="MODEL", help="Model, file of weights, or run folder.")],
    target: Annotated[str, typer.Argument(metavar="hf:OWNER/NAME", help="Repository of the Hugging Face hub.")],
    card: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Model card; by default the model's own or a short one.")
    ] = None,
    private: Annotated[bool, flag("--private", "Only you may see the repository.")] = False,
) -> None:
    """Puts a model and its card on the Hugging Face hub, where hf:OWNER/NAME names it from then on.

    Log in first: hf auth login, or set HF_TOKEN.

    [bold]Examples[/bold]

    unbraid models push runs/speech/best.safetensors hf:me/my-speech
    """
    from unbraid.weights.published.hub import push_to_hub
    from unbraid.weights.references import HubReference, is_reference, parse_reference
    from unbraid.weights.sharing import write_repository

    reference = parse_reference(target) if is_reference(target) else None
    if not isinstance(reference, HubReference):
        raise ConfigError(f"'{target}' is no repository", remedy="write it as hf:owner/name")
    with tempfile.TemporaryDirectory() as folder:
        write_repository(_weights_of(source), Path(folder), card)
        typer.echo(push_to_hub(reference, Path(folder), private=private))


def prepare_download(name: str, *, assume_yes: bool = False, offline: bool = False) -> None:
    """Says once, before anything of it is fetched, what a published model is and under which licence."""
    from unbraid.weights.published.locate import agree_to, find_downloaded
    from unbraid.weights.published.registry import find_published

    if offline:
        os.environ["HF_HUB_OFFLINE"] = "1"
    published = find_published(name)
    if published is None or find_downloaded(name) is not None:
        return
    size = f", {published.size_mb} MB" if published.size_mb else ""
    licence = published.licence or "none stated"
    complain(f"{published.name}: {published.title}, by {published.credits}; licence: {licence}{size}", kind="model")
    if published.licence is not None:
        return
    if not assume_yes:
        if not (sys.stdin.isatty() and is_terminal()):
            return  # It is refused where it would be fetched.
        if not typer.confirm("Its authors state no licence, so you may have no right to use it. Download?", err=True):
            raise typer.Exit(1)
    agree_to(published.name)


def _weights_of(source: str) -> str:
    """The best weights of a run folder, or the name itself."""
    best = Path(source) / "best.safetensors"
    return str(best) if best.is_file() else source

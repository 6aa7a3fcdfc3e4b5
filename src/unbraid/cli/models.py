"""`unbraid models`: what there is, what it is, and getting weights out and in."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from unbraid.cli.messages import print_json
from unbraid.cli.options import AsJson, flag
from unbraid.errors import ConfigError, UnknownNameError

models = typer.Typer(
    name="models",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    no_args_is_help=True,
    help="Lists models, shows them, and exports and imports weights.",
    rich_markup_mode="rich",
)


@models.command("list")
def list_models(
    task: Annotated[
        Literal["speech", "music", "film"] | None, typer.Option(help="Only models for this.", show_default=False)
    ] = None,
    everything: Annotated[bool, flag("--all", "Presets to train, and other packages' catalogues, as well.")] = False,
    json: AsJson = False,
) -> None:
    """Lists models: those that are bundled, and published ones that can be downloaded, with their scores and licences.

    Scores are those that were published, by whom and on what  unbraid models show
    tells; they were not measured here, and not all by one protocol. Costs are
    seconds of one CPU core per second of audio.

    [bold]Examples[/bold]

    unbraid models list
    unbraid models list --task music
    unbraid models list --all --json
    """
    if json:
        from unbraid.weights.listing import list_entries
        from unbraid.weights.published.models import published_entries

        print_json({**list_entries(), "published": published_entries(task)})
    else:
        print_models(task, everything=everything)


@models.command("show")
def show_model(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Model, preset, or .safetensors file.")],
    json: AsJson = False,
    attention: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Show what the model looks at in this recording, as pictures.", show_default=False
        ),
    ] = None,
    spectrograms: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Show every estimate of this recording, without and with super-resolution.",
            show_default=False,
        ),
    ] = None,
    split: Annotated[
        float | None,
        typer.Option(
            metavar="HZ", help="Where --spectrograms divides the band; by default as the model does, or in the middle."
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            metavar="DIR",
            help="Folder for pictures and arrays; by default attention or spectrograms.",
            show_default=False,
        ),
    ] = None,
    seconds: Annotated[
        float, typer.Option(metavar="SEC", min=0.1, help="How much of the recording pictures show.")
    ] = 12.0,
) -> None:
    """Shows what a model takes and gives, its settings, size and card.

    With --attention, models that attend draw where each of their heads looks.
    SFC-CA: over the recording and over every stem, and the positional bias before
    and after training. MTFA: which moments, and which frequencies, are alike to
    each level, and after how long something repeats. The same numbers are
    written as arrays. With --spectrograms, any model draws its estimates, above
    and below a split, and what super-resolution changed where the model has it.

    [bold]Examples[/bold]

    unbraid models show speech
    unbraid models show runs/speech/best.safetensors --json
    unbraid models show sfc-ca-small --attention song.wav --out pictures
    unbraid models show mtfa-small --attention song.wav --seconds 20 --out pictures
    unbraid models show sfsrnet --spectrograms talk.wav --seconds 4
    unbraid models show speech --spectrograms talk.wav --split 3000
    """
    from unbraid.cli.model_files import describe
    from unbraid.weights.published.models import published_entry

    if attention is not None and spectrograms is not None:
        raise ConfigError("--attention and --spectrograms are two commands", remedy="give one of them")
    if split is not None and spectrograms is None:
        raise ConfigError("--split goes with --spectrograms")
    if attention is not None or spectrograms is not None:
        from unbraid.cli.model_files import show_attention, show_spectrograms

        if attention is not None:
            paths = show_attention(name, attention, out or Path("attention"), seconds)
        else:
            assert spectrograms is not None
            paths = show_spectrograms(name, spectrograms, out or Path("spectrograms"), seconds, split)
        if json:
            print_json({"files": [str(path) for path in paths]})
        else:
            for path in paths:
                typer.echo(path)
        return
    entry = published_entry(name)
    if entry is not None and entry["state"] != "downloaded":
        if json:
            print_json(entry)
        else:
            print_published(entry)
        return
    data = {**describe(name), **({"published": entry} if entry else {})}
    if json:
        print_json(data)
        return
    from unbraid.cli.tables import make_console

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
    if entry is not None:
        print_facts(published_facts(entry))
    console.print("  settings")
    for key, value in _settings(data["config"]):
        console.print(f"    {key} = {value}", markup=False)
    if data["card_excerpt"]:
        console.print()
        console.print(data["card_excerpt"], markup=False)


def _settings(config: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, object]]:
    """By their names in `--set model.NAME=VALUE`."""
    for key, value in config.items():
        if isinstance(value, dict):
            yield from _settings(value, f"{prefix}{key}.")
        else:
            yield prefix + key, ",".join(map(str, value)) if isinstance(value, tuple | list) else value


@models.command("export")
def export_model(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Model or .safetensors file.")],
    out: Annotated[
        Path, typer.Option("--out", "-o", metavar="FILE", help="File to write, ending in .safetensors, .onnx or .pt2.")
    ],
    to: Annotated[
        Literal["weights", "onnx", "torch-export"],
        typer.Option(help="Weights, or a program of the model's core for other runtimes."),
    ] = "weights",
    precision: Annotated[Literal["float32", "float16", "int8"], typer.Option(help="Of an ONNX file.")] = "float32",
    half: Annotated[bool, flag("--half", "Store 16 bits a weight: half the size.")] = False,
    bands: Annotated[
        int | None, typer.Option(metavar="K", min=2, help="SFC: with so many bands.", show_default=False)
    ] = None,
    rate: Annotated[
        int | None, typer.Option(metavar="HZ", min=1, help="SFC: for another sampling rate.", show_default=False)
    ] = None,
) -> None:
    """Writes a model as one file that carries its settings and its hash.

    The bands of an SFC may be more or fewer than it was trained with, and its
    rate another; what a model loses by that, only a measurement tells.

    With --to onnx (ONNX) or torch-export (PyTorch's own), the file is a program
    of the model's core: real numbers in and out, any number of rows and frames;
    the transforms around it stay outside. examples/onnx_numpy.py runs one.

    [bold]Examples[/bold]

    unbraid models export speech --out speech.safetensors
    unbraid models export runs/speech/best.safetensors --half --out small.safetensors
    unbraid models export cinematic --bands 24 --out cinematic-24.safetensors
    unbraid models export cinematic --to onnx --out cinematic.onnx
    """
    from unbraid.cli.model_files import fit_bands, save, save_program
    from unbraid.weights.store import inspect_model, load_model

    stored = inspect_model(name)
    model = load_model(name)
    facts: dict[str, object] = {**stored.facts}
    if bands is not None or rate is not None:
        model = fit_bands(model, bands, rate)
        # What is known of the trained model was not measured of this one.
        facts = {"changed_after_training": stored.name, "sha256_of_the_trained": stored.sha256}
    if to != "weights":
        if half:
            raise ConfigError("--half is for weights", remedy="write  --precision float16")
        save_program(model, out, to, stored.name, precision)
        return
    if precision != "float32":
        raise ConfigError("--precision goes with --to onnx", remedy="weights take --half")
    save(model, out, stored.name, facts, half=half)


@models.command("import")
def import_model(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Foreign weights, or the folder of a foreign model.")],
    out: Annotated[Path, typer.Option("--out", "-o", metavar="FILE", help="File to write, ending in .safetensors.")],
    preset: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="The preset that weights belong to which do not say so themselves.",
            show_default=False,
        ),
    ] = None,
    source: Annotated[
        str | None,
        typer.Option(
            "--from",
            metavar="FORMAT",
            help="Whose weights, see below; by default those of the preset's authors.",
            show_default=False,
        ),
    ] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Setting of the model in which it differs from the preset."),
    ] = None,
) -> None:
    """Turns weights of other projects into a file of ours.

    What lies as its authors publish it is recognised: folders of SFC's authors and
    of SpeechBrain, files of bytesep, bags of demucs, and networks with a .yaml
    beside them (RoFormers, MDX23C, SCNet, Bandit). For a bare state dict, say
    with --preset what it belongs to. Formats: resunet-authors, s4m-authors and
    sfc-authors, of the published code of ResUNetDecouple+, S4M and SFC;
    speechbrain, its SepFormer, whose three files become one with the prefixes
    encoder., masknet. and decoder.

    Files are never unpickled: .pt, .pth and .ckpt are read weights-only, and one
    that holds anything else is refused.

    [bold]Examples[/bold]

    unbraid models import folder/of/a/model --out my.safetensors
    unbraid models import m.safetensors --preset s4m-tiny --out my.safetensors
    unbraid models import m.safetensors --preset s4m-tiny --set fusion=previous --out my.safetensors
    unbraid models import m.safetensors --preset sfc-ca-small --set frames=released --out my.safetensors
    unbraid models import m.safetensors --preset resunet --set level=as-given --out my.safetensors
    """
    from unbraid.cli.model_files import save
    from unbraid.cli.overrides import apply_overrides
    from unbraid.models.catalog import preset_config
    from unbraid.weights.conversion import read_model
    from unbraid.weights.foreign import convert_weights, formats_of
    from unbraid.weights.published.locate import find_downloaded
    from unbraid.weights.tensors import read_tensors

    if preset is not None:
        config = apply_overrides(preset_config(preset), set_ or [])
        if source is None:
            formats = formats_of(config)
            if not formats:
                raise UnknownNameError(f"no foreign weights of '{preset}' are known", remedy="choose another preset")
            source = formats[0]
        model = convert_weights(read_tensors(file), source, config)
        save(model, out, out.stem, {"imported_from": source, "file": file.name})
        return
    if source is not None or set_:
        raise ConfigError("--from and --set go with --preset")
    local = find_downloaded(str(file))
    if local is None:
        raise ConfigError(f"'{file}' is no foreign model", remedy="name its file or folder, or see --help")
    model, form, half = read_model(local.files, local.root)
    save(model, out, out.stem, {"imported_from": form, "file": file.name}, half=half)


def print_models(task: str | None = None, *, everything: bool = False) -> None:
    """The catalog as text, on stdout."""
    from unbraid.cli.tables import make_console, make_table
    from unbraid.weights.listing import list_entries
    from unbraid.weights.published.models import published_entries

    console, known = make_console(), list_entries()
    groups = [("Bundled models", [entry for entry in known["models"] if task in (None, entry_task(entry))])]
    if everything:
        groups.append(("Presets, to train", known["presets"]))
    for title, entries in groups:
        table = make_table("name", "gives", "rate", "channels", "parameters", title=title, numbers_from=2)
        for entry in entries:
            gives, rate = ", ".join(entry["sources"]), f"{entry['sample_rate']} Hz"
            table.add_row(entry["name"], gives, rate, str(entry["num_channels"]), f"{entry['parameters']:,}")
        if not entries:
            table.add_row("none")
        console.print(table)
        if title == "Bundled models":
            table = make_table("name", "gives", "rate", "score", "cost", "licence", "state", title="Published models")
            for entry in published_entries(task):
                score = entry["scores"][0] if entry["scores"] else None
                table.add_row(
                    " = ".join((entry["name"], *entry["also"])),
                    ", ".join(entry["stems"]),
                    f"{entry['rate']} Hz",
                    f"{score['measure']} {score['value']:g} {score['unit']}" if score else "",
                    f"{entry['cpu_seconds']:g} s" if entry["cpu_seconds"] else "",
                    entry["licence"] or "none stated",
                    entry["state"],
                )
            console.print(table)
    if everything and task in (None, "music"):
        from unbraid.weights.published.models import catalogue_names

        for name in catalogue_names():
            console.print(name, markup=False, highlight=False)


def entry_task(entry: dict) -> str:
    """What a bundled model is for, by what it gives."""
    if entry["exchangeable"]:
        return "speech"
    return "film" if "dialogue" in entry["sources"] else "music"


def print_published(entry: dict) -> None:
    """Facts of a published model that is not on this machine."""
    from unbraid.cli.tables import make_console

    make_console().print(f"[bold]{entry['name']}[/bold], {entry['title']}, {entry['state']}", style="default")
    print_facts(
        {
            "for": entry["task"],
            "takes": f"{entry['channels']} channel(s) at {entry['rate']} Hz, any length" if entry["stems"] else "",
            "gives": ", ".join(entry["stems"]),
            "licence": entry["licence"] or "none stated by its authors",
            "size": f"{entry['size_mb']} MB" if entry["size_mb"] else "",
            "source": ", ".join(entry["source"]),
            "credits": entry["credits"],
            "needs": f"pip install 'unbraid[{entry['needs']}]'" if entry["needs"] else "",
            "download": f"unbraid models download {entry['name']}",
            **published_facts(entry),
        }
    )


def published_facts(entry: dict) -> dict[str, str]:
    """What was published of a model, and what it costs."""
    cost = entry["cpu_seconds"]
    facts = {"costs": f"{cost:g} s of one CPU core per second of audio" if cost else ""}
    for score in entry["scores"]:
        facts["published"] = (
            f"{score['measure']} {score['value']:g} {score['unit']} on {score['data']} ({score['source']})"
        )
    return facts


def print_facts(facts: dict[str, str]) -> None:
    from unbraid.cli.tables import make_console

    console = make_console()
    for title, text in facts.items():
        if text:
            console.print(f"  {title:<11} {text}", markup=False, soft_wrap=True)

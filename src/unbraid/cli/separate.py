"""`unbraid separate`: what it takes, and how its settings become a batch."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Literal

import typer

from unbraid.cli.messages import print_json
from unbraid.cli.options import DEVICE_HELP, flag
from unbraid.errors import ConfigError

_FORMAT, _HOW, _RUN = "What is written", "How it is separated", "How it runs"


def _list_models(wanted: bool) -> bool:
    if wanted:
        from unbraid.cli.models import print_models

        print_models()
        raise typer.Exit
    return wanted


def separate(
    inputs: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="INPUT...",
            help="Recordings, folders of them, patterns such as '*.wav', or - for standard input. "
            "Anything goes: WAV, FLAC, MP3, M4A, Ogg, video; any rate, any number of channels, any length.",
            show_default=False,
        ),
    ] = None,
    name: Annotated[
        str, typer.Option("--name", "-n", metavar="MODEL", help="Bundled model, or a .safetensors file of your own.")
    ] = "speech",
    out: Annotated[
        str,
        typer.Option("--out", "-o", metavar="DIR", help="Folder for the stems; - writes one stem to stdout as WAV."),
    ] = "separated",
    list_models: Annotated[
        bool, flag("--list-models/-l", "List models and exit.", callback=_list_models, is_eager=True)
    ] = False,
    stem: Annotated[
        list[str] | None,
        typer.Option(
            "--stem", metavar="STEM", help="Write this stem only; repeat it for more.", rich_help_panel=_FORMAT
        ),
    ] = None,
    two_stems: Annotated[
        str | None,
        typer.Option(metavar="STEM", help="Write this stem, and one of all the rest.", rich_help_panel=_FORMAT),
    ] = None,
    other_method: Annotated[
        Literal["none", "add", "minus"],
        typer.Option(
            help="The rest: left out, the other stems added up, or the recording minus STEM.", rich_help_panel=_FORMAT
        ),
    ] = "add",
    remix: Annotated[
        list[str] | None,
        typer.Option(
            metavar="STEM=DB,...",
            help="Write the recording with stems louder, softer or off as well, as remix: dialogue=+6,music=off. "
            "With --stem remix, that alone.",
            rich_help_panel=_FORMAT,
        ),
    ] = None,
    filename: Annotated[
        str,
        typer.Option(
            metavar="TEMPLATE",
            help="Names below DIR/MODEL. Fields: {track} {stem} {ext} {trackext} {model} {file_name} {instr}.",
            rich_help_panel=_FORMAT,
        ),
    ] = "{track}/{stem}.{ext}",
    wav: Annotated[bool, flag("--wav", "WAV, the default.", _FORMAT)] = False,
    flac: Annotated[bool, flag("--flac", "FLAC.", _FORMAT)] = False,
    mp3: Annotated[bool, flag("--mp3", "MP3.", _FORMAT)] = False,
    ogg: Annotated[bool, flag("--ogg", "Ogg Vorbis.", _FORMAT)] = False,
    mp3_bitrate: Annotated[int, typer.Option(metavar="KBPS", help="MP3 bit rate.", rich_help_panel=_FORMAT)] = 320,
    int16: Annotated[bool, flag("--int16", "16 bits. Without it, the recording's own depth.", _FORMAT)] = False,
    int24: Annotated[bool, flag("--int24", "24 bits.", _FORMAT)] = False,
    float32: Annotated[bool, flag("--float32", "32-bit float, which never clips.", _FORMAT)] = False,
    clip_mode: Annotated[
        Literal["rescale", "clamp", "none"],
        typer.Option(
            help="When a stem exceeds full scale: turn all stems down alike, or cut its peaks off.",
            rich_help_panel=_FORMAT,
        ),
    ] = "rescale",
    consistency: Annotated[
        Literal["none", "residual", "distribute"],
        typer.Option(
            help="Make the stems add up to the recording: write what is missing as a stem, or spread it over all.",
            rich_help_panel=_HOW,
        ),
    ] = "none",
    overlap: Annotated[
        float | None,
        typer.Option(
            metavar="SHARE",
            help="Fraction that chunks share, 0 to 0.5; by default a quarter, or half with --join average.",
            show_default=False,
            rich_help_panel=_HOW,
        ),
    ] = None,
    join: Annotated[
        Literal["fade", "average"],
        typer.Option(
            help="Fade between chunks without a seam, or average what they share as papers do.", rich_help_panel=_HOW
        ),
    ] = "fade",
    segment: Annotated[
        float | None,
        typer.Option(
            metavar="SEC",
            help="Length of chunks; by default the model's own.",
            show_default=False,
            rich_help_panel=_HOW,
        ),
    ] = None,
    shifts: Annotated[
        int,
        typer.Option(
            min=1, metavar="N", help="Average over so many passes: slower, a little better.", rich_help_panel=_HOW
        ),
    ] = 1,
    seed: Annotated[int, typer.Option(min=0, metavar="N", help="Seed of the shifts.", rich_help_panel=_HOW)] = 0,
    tracking: Annotated[
        Literal["recording", "online"],
        typer.Option(
            help="Tell speakers apart over the whole recording, or with what has been heard so far.",
            rich_help_panel=_HOW,
        ),
    ] = "recording",
    allow_truncated: Annotated[bool, flag("--allow-truncated", "Separate what a truncated file holds.", _HOW)] = False,
    mend_samples: Annotated[bool, flag("--mend-samples", "Replace NaN and infinite samples by zero.", _HOW)] = False,
    device: Annotated[
        str, typer.Option("--device", "-d", metavar="DEVICE", help=DEVICE_HELP, rich_help_panel=_RUN)
    ] = "auto",
    batch_size: Annotated[
        int | None,
        typer.Option(
            min=1, metavar="N", help="Chunks per call of the model.", show_default=False, rich_help_panel=_RUN
        ),
    ] = None,
    resume: Annotated[
        bool, flag("--resume", "Skip recordings whose stems this model made with these settings already.", _RUN)
    ] = False,
    shard: Annotated[
        str | None,
        typer.Option(
            metavar="I/N", help="Do part I of N only, as on N machines.", show_default=False, rich_help_panel=_RUN
        ),
    ] = None,
    json: Annotated[bool, flag("--json", "Print what was done as JSON.", _RUN)] = False,
    quiet: Annotated[bool, flag("--quiet/-q", "Print errors only.", _RUN)] = False,
) -> None:
    """Separates recordings into their sources: DIR/MODEL/TRACK/STEM.wav, one file per source.

    Rate, length, channels, depth and tags are those of the recording.
    The exit status is 0 only if every recording was done; one that cannot be
    read never stops the others.

    [bold]Examples[/bold]

    unbraid separate talk.wav
        gives separated/speech/talk/speaker1.wav and speaker2.wav
    unbraid separate meetings/ -o stems --flac
        a whole folder, subfolders mirrored
    unbraid separate *.mp3 --resume
        go on after an interruption
    unbraid separate talk.wav --filename "{track}_{stem}"
        other names
    unbraid separate recordings/ --shard 2/8
        the second of eight machines
    unbraid separate -n cinematic film.mp4 --remix dialogue=+6
        dialogue 6 dB up, in separated/cinematic/film/remix.wav
    cat talk.wav | unbraid separate - -o - --stem speaker1 > one.wav
        in a pipe
    """
    if not inputs:
        raise ConfigError("no recording is named: try  unbraid separate talk.wav, or  unbraid separate --help")
    containers = {"wav": wav, "flac": flac, "mp3": mp3, "ogg": ogg}
    samples = {"int16": int16, "int24": int24, "float32": float32}
    container, sample = _only_one(containers) or "wav", _only_one(samples)
    part = _parse_shard(shard)
    if out == "-" and json:
        raise ConfigError("--json and -o - both want standard output: choose one of them")

    from unbraid.audio.discovery import discover_audio
    from unbraid.cli.separate_files import separate_files
    from unbraid.cli.separate_stdout import separate_to_stdout
    from unbraid.output.export import EncodingChoice, index_of
    from unbraid.separation.separator import Separator
    from unbraid.separation.stems import parse_remix

    choice = EncodingChoice(container=container, sample=sample, bitrate_kbps=mp3_bitrate, clip_mode=clip_mode)  # type: ignore[arg-type]
    found = discover_audio(inputs)
    separator = Separator(
        name,
        device=device,
        segment_seconds=segment,
        overlap=overlap,
        join=join,
        batch_size=batch_size,
        shifts=shifts,
        seed=seed,
        consistency=consistency,
        two_stems=two_stems,
        other_method=other_method,
        remix=parse_remix(remix or []),
        tracking=tracking,
        allow_truncated=allow_truncated,
        mend_samples=mend_samples,
    )
    stems = tuple(dict.fromkeys(stem or separator.stem_plan.names))
    for wanted in stems:
        index_of(wanted, separator.stem_plan.names)
    if out == "-":
        separate_to_stdout(found, separator, stems, choice, quiet=quiet)
        return
    results = separate_files(
        found,
        separator,
        name,
        Path(out),
        stems,
        choice,
        template=filename,
        part=part,
        resume=resume,
        quiet=quiet,
    )
    if json:
        print_json({"recordings": results})
    if any(result["status"] == "failed" for result in results):
        raise typer.Exit(1)


def _only_one(flags: dict[str, bool]) -> str | None:
    chosen = [name for name, is_set in flags.items() if is_set]
    if len(chosen) > 1:
        raise ConfigError(f"choose one of {', '.join(f'--{name}' for name in chosen)}")
    return chosen[0] if chosen else None


def _parse_shard(text: str | None) -> tuple[int, int]:
    if text is None:
        return 1, 1
    match = re.fullmatch(r"(\d+)/(\d+)", text)
    if match is None:
        raise ConfigError(f"--shard {text} is not a part of a whole: write it as in  --shard 1/4")
    return int(match[1]), int(match[2])

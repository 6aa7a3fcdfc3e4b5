"""The options of `unbraid separate`: what each is called and what its help says."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import typer

from unbraid.cli.messages import LogLevel
from unbraid.cli.options import DEVICE_HELP, flag

_FORMAT, _HOW, _RUN = "What is written", "How it is separated", "How it runs"


def _list_models(wanted: bool) -> bool:
    if wanted:
        from unbraid.cli.models import print_models

        print_models()
        raise typer.Exit
    return wanted


def _parse_segment(text: str) -> float | str:
    """Seconds, or the word "whole"."""
    if text == "whole":
        return text
    try:
        return float(text)
    except ValueError:
        raise typer.BadParameter(f"'{text}' is neither a number of seconds nor 'whole'") from None


def _parse_time(text: str) -> float:
    """Seconds of "90", "1:30" or "0:01:30"."""
    try:
        parts = [float(part) for part in text.split(":")]
    except ValueError:
        parts = []
    if not 1 <= len(parts) <= 3 or any(part >= 60 for part in parts[1:]):
        raise typer.BadParameter(f"'{text}' is no time: write seconds, or minutes and seconds as in 1:30")
    return sum(part * 60**place for place, part in enumerate(reversed(parts)))


Inputs = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="INPUT...",
        help="Recordings, folders of them, patterns such as '*.wav', or - for standard input. "
        "Addresses such as s3://bucket/folder too. Anything goes: WAV, FLAC, MP3, M4A, Ogg, video; any rate, any "
        "number of channels, any length.",
        show_default=False,
    ),
]
Name = Annotated[
    str,
    typer.Option(
        "--name",
        "-n",
        metavar="MODEL",
        help="auto chooses by what each recording sounds like. Else a bundled or published model, hf:owner/name, "
        "a file or a folder; or several: 'a+b', 'median(a, b, c)', 'a | b on vocals'.",
    ),
]
Out = Annotated[
    str,
    typer.Option("--out", "-o", metavar="DIR", help="Folder for the stems; - writes one stem to stdout as WAV."),
]
ListModels = Annotated[bool, flag("--list-models/-l", "List models and exit.", callback=_list_models, is_eager=True)]
Stem = Annotated[
    list[str] | None,
    typer.Option("--stem", metavar="STEM", help="Write this stem only; repeat it for more.", rich_help_panel=_FORMAT),
]
TwoStems = Annotated[
    str | None,
    typer.Option(metavar="STEM", help="Write this stem, and one of all the rest.", rich_help_panel=_FORMAT),
]
OtherMethod = Annotated[
    Literal["none", "add", "minus"],
    typer.Option(
        help="The rest: left out, the other stems added up, or the recording minus STEM.", rich_help_panel=_FORMAT
    ),
]
Remix = Annotated[
    list[str] | None,
    typer.Option(
        metavar="STEM=DB,...",
        help="Write the recording with stems louder, softer or off as well, as remix: dialogue=+6,music=off. "
        "With --stem remix, that alone.",
        rich_help_panel=_FORMAT,
    ),
]
Loudness = Annotated[
    float | None,
    typer.Option(
        metavar="LUFS",
        help="Loudness of the remix, such as -16 (podcasts) or -23 (broadcast), as far as a true peak of -1 dB allows.",
        rich_help_panel=_FORMAT,
        show_default=False,
    ),
]
Video = Annotated[
    str | None,
    typer.Option(
        metavar="STEM",
        help="Write the video too, its picture untouched, with this stem or remix as its sound.",
        rich_help_panel=_FORMAT,
        show_default=False,
    ),
]
VideoSound = Annotated[
    Literal["aac", "flac", "alac", "copy"],
    typer.Option(
        help="How that sound is stored: AAC, without loss as FLAC or ALAC, or as the stem's own file has it.",
        rich_help_panel=_FORMAT,
    ),
]
VideoKeepSounds = Annotated[
    bool, flag("--video-keep-sounds", "Keep the video's own sound tracks, behind the new one.", _FORMAT)
]
StemFile = Annotated[
    bool,
    flag("--stem-file", "Write TRACK.stem.mp4 too: the recording and four stems in one file.", _FORMAT),
]
Filename = Annotated[
    str,
    typer.Option(
        metavar="TEMPLATE",
        help="Names below DIR/MODEL. Fields: {track} {stem} {ext} {trackext} {model} {file_name} {instr}.",
        rich_help_panel=_FORMAT,
    ),
]
Wav = Annotated[bool, flag("--wav", "WAV, the default.", _FORMAT)]
Flac = Annotated[bool, flag("--flac", "FLAC.", _FORMAT)]
Mp3 = Annotated[bool, flag("--mp3", "MP3.", _FORMAT)]
Ogg = Annotated[bool, flag("--ogg", "Ogg Vorbis.", _FORMAT)]
Mp3Bitrate = Annotated[int, typer.Option(metavar="KBPS", help="MP3 bit rate.", rich_help_panel=_FORMAT)]
Mp3Preset = Annotated[
    int | None,
    typer.Option(
        min=2,
        max=7,
        metavar="N",
        help="Taken as demucs has it, and does nothing: see --mp3-bitrate.",
        rich_help_panel=_FORMAT,
        show_default=False,
    ),
]
Int16 = Annotated[bool, flag("--int16", "16 bits. Without it, the recording's own depth.", _FORMAT)]
Int24 = Annotated[bool, flag("--int24", "24 bits.", _FORMAT)]
Float32 = Annotated[bool, flag("--float32", "32-bit float, which never clips.", _FORMAT)]
ClipMode = Annotated[
    Literal["rescale", "clamp", "none"],
    typer.Option(
        help="When a stem exceeds full scale: turn all stems down alike, or cut its peaks off.",
        rich_help_panel=_FORMAT,
    ),
]
Consistency = Annotated[
    Literal["none", "residual", "distribute"],
    typer.Option(
        help="Make the stems add up to the recording: write what is missing as a stem, or spread it over all.",
        rich_help_panel=_HOW,
    ),
]
Refine = Annotated[
    Literal["none", "wiener"] | None,
    typer.Option(
        help="Share out the recording by the powers of the estimates, bin by bin; by default where it helps the model.",
        rich_help_panel=_HOW,
        show_default=False,
    ),
]
RefineFrom = Annotated[
    float | None,
    typer.Option(
        metavar="HZ",
        help="Refine from this frequency on; by default what is best for the model.",
        rich_help_panel=_HOW,
        show_default=False,
    ),
]
Overlap = Annotated[
    float | None,
    typer.Option(
        metavar="SHARE",
        help="Fraction that chunks share, 0 to 0.95; by default a quarter, or half with --join average and centre.",
        show_default=False,
        rich_help_panel=_HOW,
    ),
]
Join = Annotated[
    Literal["fade", "average", "centre"],
    typer.Option(
        help="Fade between chunks without a seam; or, as papers do, average what they share or keep their centres.",
        rich_help_panel=_HOW,
    ),
]
Segment = Annotated[
    Any,
    typer.Option(
        parser=_parse_segment,
        metavar="SEC",
        help="Length of chunks; by default the model's own. 'whole' takes a recording in one piece.",
        show_default=False,
        rich_help_panel=_HOW,
    ),
]
NoSplit = Annotated[bool, flag("--no-split", "As --segment whole.", _HOW)]
Shifts = Annotated[
    int,
    typer.Option(
        min=1,
        metavar="N",
        help="Average over so many passes, shifted, upside down, channels swapped: slower, a little better.",
        rich_help_panel=_HOW,
    ),
]
Seed = Annotated[int, typer.Option(min=0, metavar="N", help="Seed of the shifts.", rich_help_panel=_HOW)]
Deterministic = Annotated[
    bool,
    flag(
        "--deterministic",
        "The same bytes whatever the number of threads and the batch size: one thread, slower.",
        _HOW,
    ),
]
Tracking = Annotated[
    Literal["recording", "online"],
    typer.Option(
        help="Tell speakers apart over the whole recording, or with what has been heard so far.",
        rich_help_panel=_HOW,
    ),
]
AllowTruncated = Annotated[
    bool, flag("--allow-truncated", "Separate what a truncated or damaged file holds; what is lost is silent.", _HOW)
]
ReplaceNonfinite = Annotated[bool, flag("--replace-nonfinite", "Replace NaN and infinite samples by zero.", _HOW)]
Track = Annotated[
    str | None,
    typer.Option(
        metavar="TRACK",
        help="Sound track of a video, by number (from 1) or language (eng); by default the one flagged as default.",
        show_default=False,
        rich_help_panel=_HOW,
    ),
]
Raw = Annotated[
    Literal["int16", "int24", "int32", "float32", "float64"] | None,
    typer.Option(
        "--raw",
        metavar="FORMAT",
        help="Files are raw little-endian samples: int16, int24, int32, float32 or float64. Needs --rate.",
        show_default=False,
        rich_help_panel=_HOW,
    ),
]
Rate = Annotated[
    int | None, typer.Option("--rate", metavar="HZ", help="Of raw samples.", show_default=False, rich_help_panel=_HOW)
]
Channels = Annotated[
    int | None,
    typer.Option(
        "--channels",
        min=1,
        metavar="N",
        help="Of raw samples, interleaved; by default 1.",
        show_default=False,
        rich_help_panel=_HOW,
    ),
]
Start = Annotated[
    Any,
    typer.Option(
        parser=_parse_time,
        metavar="TIME",
        help="Separate from there on: seconds, or 1:30, or 1:02:03. Names tell the passage.",
        show_default=False,
        rich_help_panel=_HOW,
    ),
]
Duration = Annotated[
    Any,
    typer.Option(
        parser=_parse_time,
        metavar="TIME",
        help="Separate so much only, of which alone the samples are read.",
        show_default=False,
        rich_help_panel=_HOW,
    ),
]
Preview = Annotated[
    Any,
    typer.Option(
        parser=_parse_time,
        metavar="TIME",
        help="Separate so much from the middle of each recording, to hear what comes of it.",
        show_default=False,
        rich_help_panel=_HOW,
    ),
]
Device = Annotated[str, typer.Option("--device", "-d", metavar="DEVICE", help=DEVICE_HELP, rich_help_panel=_RUN)]
Devices = Annotated[
    str | None,
    typer.Option(
        metavar="LIST",
        help="A worker process on each: cuda:0,cuda:1, or cpu:4 for four that share the processors.",
        show_default=False,
        rich_help_panel=_RUN,
    ),
]
Engine = Annotated[
    Literal["local", "ray"],
    typer.Option(help="ray: on a Ray cluster, whose machines see models and files.", rich_help_panel=_RUN),
]
Address = Annotated[
    str | None,
    typer.Option(
        metavar="ADDRESS",
        help="Of the Ray cluster; by default the one that this machine is in, else a new one here.",
        show_default=False,
        rich_help_panel=_RUN,
    ),
]
Workers = Annotated[
    int | None,
    typer.Option(
        min=1,
        metavar="N",
        help="On a Ray cluster; by default as many as it has room for.",
        show_default=False,
        rich_help_panel=_RUN,
    ),
]
GpusPerWorker = Annotated[
    float | None,
    typer.Option(
        min=0,
        metavar="SHARE",
        help="On a Ray cluster, 0.5 puts two workers on a GPU; by default 1 where it has GPUs.",
        show_default=False,
        rich_help_panel=_RUN,
    ),
]
Jobs = Annotated[
    int,
    typer.Option(
        "--jobs", "-j", min=0, metavar="N", help="Processor threads; 0 takes all that there are.", rich_help_panel=_RUN
    ),
]
Backend = Annotated[
    Literal["torch", "onnxruntime"],
    typer.Option(help="What runs the model; onnxruntime needs the extra onnx, and a CPU.", rich_help_panel=_RUN),
]
Precision = Annotated[
    Literal["auto", "float32", "bfloat16"],
    typer.Option(help="Of products: auto takes bfloat16 on GPUs that have it.", rich_help_panel=_RUN),
]
Compile = Annotated[bool, flag("--compile", "Compile the model: the first chunk waits, long recordings win.", _RUN)]
BatchSize = Annotated[
    int | None,
    typer.Option(min=1, metavar="N", help="Chunks per call of the model.", show_default=False, rich_help_panel=_RUN),
]
Resume = Annotated[
    bool, flag("--resume", "Skip recordings whose stems this model made with these settings already.", _RUN)
]
Shard = Annotated[
    str | None,
    typer.Option(
        metavar="I/N", help="Do part I of N only, as on N machines.", show_default=False, rich_help_panel=_RUN
    ),
]
Json = Annotated[bool, flag("--json", "Print what was done as JSON.", _RUN)]
Progress = Annotated[
    Literal["auto", "json"],
    typer.Option(help="json: a JSON object on a line of stderr for everything that happens.", rich_help_panel=_RUN),
]
Quiet = Annotated[bool, flag("--quiet/-q", "Print errors only, as --log-level error.", _RUN)]
Verbose = Annotated[bool, flag("--verbose/-v", "Print how it is done as well, as --log-level debug.", _RUN)]
Level = Annotated[
    LogLevel | None,
    typer.Option(
        "--log-level",
        help="Least weight of what is printed; by default info.",
        show_default=False,
        rich_help_panel=_RUN,
    ),
]
Offline = Annotated[bool, flag("--offline", "Use models of this machine only, and no network.", _RUN)]

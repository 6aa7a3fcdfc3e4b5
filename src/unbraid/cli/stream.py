"""`unbraid stream`: separates sound while it arrives, from a pipe or a microphone."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from unbraid.cli.options import DEVICE_HELP
from unbraid.weights.listing import LIVE_MODEL

_RAW, _DEVICES = "Raw samples", "Sound devices"


def stream(
    name: Annotated[
        str,
        typer.Option("--name", "-n", metavar="MODEL", help="Bundled model, or a causal model's file."),
    ] = LIVE_MODEL,
    stem: Annotated[
        str | None,
        typer.Option("--stem", metavar="STEM", help="Write this stem only; without it, all as channels of one stream."),
    ] = None,
    block: Annotated[
        float, typer.Option("--block", metavar="MS", min=1, max=1000, help="Milliseconds taken at a time.")
    ] = 20.0,
    stall: Annotated[
        float, typer.Option("--stall", metavar="SEC", min=0.1, help="Say so when nothing arrives for that long.")
    ] = 5.0,
    device: Annotated[str, typer.Option("--device", "-d", metavar="DEVICE", help=DEVICE_HELP)] = "cpu",
    threads: Annotated[int, typer.Option("--threads", metavar="N", min=1, help="Processor threads.")] = 1,
    raw: Annotated[
        Literal["int16", "int24", "int32", "float32"] | None,
        typer.Option(
            "--raw",
            metavar="FORMAT",
            help="stdin and stdout are raw little-endian samples. Without it, WAV.",
            rich_help_panel=_RAW,
        ),
    ] = None,
    rate: Annotated[
        int | None,
        typer.Option(
            "--rate", metavar="HZ", help="Of raw samples and devices; by default the model's.", rich_help_panel=_RAW
        ),
    ] = None,
    channels: Annotated[
        int | None,
        typer.Option(
            "--channels", metavar="N", min=1, help="Of raw samples and the input device.", rich_help_panel=_RAW
        ),
    ] = None,
    input_device: Annotated[
        str | None,
        typer.Option(
            "--input-device", metavar="DEVICE", help="Number or name, or default; else stdin.", rich_help_panel=_DEVICES
        ),
    ] = None,
    output_device: Annotated[
        str | None,
        typer.Option(
            "--output-device",
            metavar="DEVICE",
            help="Likewise; else stdout.",
            rich_help_panel=_DEVICES,
        ),
    ] = None,
) -> None:
    """Separates sound while it arrives, some milliseconds behind it.

    Stems come out as the channels of one stream, in the order of
    the model, which hears the mean of all channels of the input. Latency
    is said on stderr, at the end with percentiles. Ctrl-C ends the stream as
    the end of its input does.

    [bold]Examples[/bold]

    ffmpeg -v error -i talk.mp3 -ac 1 -ar 16000 -f wav - | unbraid stream > two.wav
        a channel per speaker
    arecord -f S16_LE -r 16000 | unbraid stream --stem speaker1 | aplay
        one speaker of what the microphone hears
    nc -l 9000 | unbraid stream --raw float32 --rate 16000 | my-captions
        raw samples from the network
    unbraid stream --input-device default --output-device default
        from microphone to headphones, one speaker per ear; needs unbraid\\[live]
    """
    import torch

    from unbraid.cli.messages import complain
    from unbraid.cli.stream_run import StreamOptions, run_stream

    torch.set_num_threads(threads)
    options = StreamOptions(
        stem=stem,
        block_seconds=block / 1000,
        device=device,
        stall_seconds=stall,
        raw=raw,
        sample_rate=rate,
        num_channels=channels,
        input_device=input_device,
        output_device=output_device,
    )
    run_stream(name, options, lambda line: complain(line, kind=""))

"""Runs `unbraid stream`: block in, stems out, until the input ends or somebody presses Ctrl-C."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from unbraid.audio.pcm_stream import PcmFormat
from unbraid.cli.stream_ends import Input, Output, PipeInput, PipeOutput
from unbraid.cli.stream_report import StreamReport, latency_line
from unbraid.errors import AudioReadError, UnknownNameError
from unbraid.options import PositiveFloat, PositiveInt, SampleRate, check_options
from unbraid.separation.session import LiveSeparator

Say = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class StreamOptions:
    """What the command line was asked for."""

    stem: str | None = None
    """The one stem that is written; None writes all as channels."""
    block_seconds: PositiveFloat = 0.02
    """How much is taken at a time."""
    device: str = "cpu"
    """Where the model runs."""
    stall_seconds: PositiveFloat = 5.0
    """After so much time without input a line says so."""
    raw: Literal["int16", "int24", "int32", "float32"] | None = None
    """How samples are stored on standard input and output; None for WAV."""
    sample_rate: SampleRate | None = None
    """Of raw samples and devices, in Hz; None for the model's."""
    num_channels: PositiveInt | None = None
    """Of raw samples and of the input device; None for one."""
    input_device: str | None = None
    """None for standard input."""
    output_device: str | None = None
    """None for standard output."""

    def __post_init__(self) -> None:
        check_options(self)


def run_stream(name: str, options: StreamOptions, say: Say) -> None:
    """Until the input ends; says what it has to say a line at a time."""
    probe = LiveSeparator(name, device=options.device)
    chosen = _choose(options.stem, probe.spec.sources)
    report = StreamReport()
    source = _open_input(options, probe.spec.sample_rate, report, say)
    if options.raw is None and options.input_device is None:
        _check_header(source.form, options)
    rate = source.form.sample_rate
    separator = probe if rate == probe.sample_rate else LiveSeparator(probe.model, rate)
    sink = _open_output(options, source.form, len(chosen), separator, report)
    say(latency_line(separator, 1000 * options.block_seconds))
    if source.form.num_channels > 1:
        say(f"the model hears one channel: the mean of the {source.form.num_channels} of the input")
    try:
        try:
            for block in source.blocks():
                begun = time.perf_counter()
                estimates = separator.push(block.mean(axis=0))
                report.count(block.shape[1] / rate, time.perf_counter() - begun)
                sink.write(estimates[chosen])
        except KeyboardInterrupt:
            say("interrupted; what was heard is written to its end")
            sink.write(separator.flush()[chosen])
            sink.finish()
        else:
            sink.write(separator.flush()[chosen])
            sink.finish()
            source.close()
    finally:
        for line in report.lines(separator):
            say(line)


def _choose(stem: str | None, sources: tuple[str, ...]) -> list[int]:
    if stem is None:
        return list(range(len(sources)))
    if stem not in sources:
        raise UnknownNameError(f"there is no stem '{stem}'; there are: {', '.join(sources)}")
    return [sources.index(stem)]


def _check_header(form: PcmFormat, options: StreamOptions) -> None:
    for said, found, what in (
        (options.sample_rate, form.sample_rate, "`sample_rate`"),
        (options.num_channels, form.num_channels, "`num_channels`"),
    ):
        if said is not None and said != found:
            raise AudioReadError(
                f"the WAV header on standard input says {found} where {what} says {said}",
                remedy="leave that out, or name the format of raw samples with `raw`",
            )


def _open_input(options: StreamOptions, model_rate: int, report: StreamReport, say: Say) -> Input:
    def tell_stall() -> None:
        report.stalls += 1
        say(f"warning: nothing has arrived for {options.stall_seconds:g} s; still waiting")

    form = PcmFormat(
        sample=options.raw or "float32",
        sample_rate=options.sample_rate or model_rate,
        num_channels=options.num_channels or 1,
    )
    if options.input_device is None:
        raw = None if options.raw is None else form
        return PipeInput(raw, options.block_seconds, options.stall_seconds, tell_stall)
    from unbraid.cli.stream_devices import DeviceInput

    return DeviceInput(options.input_device, form, options.block_seconds, options.stall_seconds, tell_stall, report)


def _open_output(
    options: StreamOptions, form: PcmFormat, num_channels: int, separator: LiveSeparator, report: StreamReport
) -> Output:
    if options.output_device is None:
        return PipeOutput(form, num_channels, wav=options.raw is None)
    from unbraid.cli.stream_devices import DeviceOutput

    ahead = separator.latency_samples + round(options.block_seconds * form.sample_rate)
    played = PcmFormat(sample_rate=form.sample_rate, num_channels=num_channels)
    return DeviceOutput(options.output_device, played, options.block_seconds, ahead, report)

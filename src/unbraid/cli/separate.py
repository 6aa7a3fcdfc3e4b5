"""`unbraid separate`: its options become one config of the separation and one of the output."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from unbraid.cli import separate_options as options
from unbraid.cli.messages import complain, print_json
from unbraid.errors import ConfigError

if TYPE_CHECKING:
    from unbraid.audio.discovery import Discovery
    from unbraid.audio.pcm_stream import PcmFormat


def separate(
    inputs: options.Inputs = None,
    name: options.Name = "auto",
    out: options.Out = "separated",
    list_models: options.ListModels = False,
    stem: options.Stem = None,
    two_stems: options.TwoStems = None,
    other_method: options.OtherMethod = "add",
    remix: options.Remix = None,
    loudness: options.Loudness = None,
    video: options.Video = None,
    video_sound: options.VideoSound = "aac",
    video_keep_sounds: options.VideoKeepSounds = False,
    stem_file: options.StemFile = False,
    filename: options.Filename = "{track}/{stem}.{ext}",
    wav: options.Wav = False,
    flac: options.Flac = False,
    mp3: options.Mp3 = False,
    ogg: options.Ogg = False,
    mp3_bitrate: options.Mp3Bitrate = 320,
    mp3_preset: options.Mp3Preset = None,
    int16: options.Int16 = False,
    int24: options.Int24 = False,
    float32: options.Float32 = False,
    clip_mode: options.ClipMode = "rescale",
    consistency: options.Consistency = "none",
    refine: options.Refine = None,
    refine_from: options.RefineFrom = None,
    overlap: options.Overlap = None,
    join: options.Join = "fade",
    segment: options.Segment = None,
    no_split: options.NoSplit = False,
    shifts: options.Shifts = 1,
    seed: options.Seed = 0,
    deterministic: options.Deterministic = False,
    tracking: options.Tracking = "recording",
    allow_truncated: options.AllowTruncated = False,
    replace_nonfinite: options.ReplaceNonfinite = False,
    track: options.Track = None,
    raw: options.Raw = None,
    rate: options.Rate = None,
    channels: options.Channels = None,
    start: options.Start = None,
    duration: options.Duration = None,
    preview: options.Preview = None,
    device: options.Device = "auto",
    devices: options.Devices = None,
    engine: options.Engine = "local",
    address: options.Address = None,
    workers: options.Workers = None,
    gpus_per_worker: options.GpusPerWorker = None,
    jobs: options.Jobs = 0,
    backend: options.Backend = "torch",
    precision: options.Precision = "float32",
    compile_: options.Compile = False,
    batch_size: options.BatchSize = None,
    resume: options.Resume = False,
    shard: options.Shard = None,
    json: options.Json = False,
    progress: options.Progress = "auto",
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
    log_level: options.Level = None,
    offline: options.Offline = False,
) -> None:
    """Separates recordings into their sources: DIR/MODEL/TRACK/STEM.wav, one file per source.

    Rate, length, channels, depth and tags are those of the recording.
    The exit status is 0 only if every recording was done; one that cannot be
    read never stops the others.

    [bold]Examples[/bold]

    unbraid separate talk.wav
        hears that it is talk, and gives separated/speech/talk/speaker1.wav and speaker2.wav
    unbraid separate song.mp3 -n htdemucs
        vocals, drums, bass and other with a published model, downloaded at first use
    unbraid separate meetings/ -o stems --flac
        a whole folder, subfolders mirrored
    unbraid separate *.mp3 --resume
        go on after an interruption
    unbraid separate talk.wav --filename "{track}_{stem}"
        other names
    unbraid separate recordings/ --shard 2/8
        the second of eight machines
    unbraid separate -n cinematic film.mp4 --remix dialogue=+6
        dialogue 6 dB up, in separated/cinematic/film/remix.wav; with --loudness -16, at that loudness
    unbraid separate song.wav --preview 20
        20 s from its middle, to hear what comes of it
    unbraid separate song.wav -n "0.7*htdemucs+0.3*htdemucs_6s"
        the weighted mean of two models; also median(a, b, c), min, max, and all of them by spectrum
    unbraid separate song.wav -n "htdemucs | speech on vocals"
        its vocals separated again, by another model
    cat talk.wav | unbraid separate - -o - --stem speaker1 > one.wav
        in a pipe
    """
    if not inputs:
        raise ConfigError("no recording is named: try  unbraid separate talk.wav, or  unbraid separate --help")
    part = _parse_shard(shard)
    if out == "-" and json:
        raise ConfigError("--json and -o - both want standard output: choose one of them")
    container = _only_one({"wav": wav, "flac": flac, "mp3": mp3, "ogg": ogg}) or "wav"
    sample = _only_one({"int16": int16, "int24": int24, "float32": float32})
    if no_split and segment is not None:
        raise ConfigError("--no-split is one piece, and --segment its length: choose one of them")
    level = log_level or ("error" if quiet else "debug" if verbose else "info")
    quiet, as_json = level in ("error", "warning"), progress == "json"
    if mp3_preset is not None and level != "error":
        complain("the MP3 encoder chooses its effort itself: --mp3-preset does nothing, see --mp3-bitrate", "warning")

    from unbraid.audio.discovery import discover_audio
    from unbraid.cli.models_published import prepare_download
    from unbraid.cli.separate_files import Result, failed, separate_files
    from unbraid.cli.separate_stdout import separate_to_stdout
    from unbraid.files.remote import Url, is_url
    from unbraid.output.config import OutputConfig
    from unbraid.output.engines.config import EngineConfig, parse_devices
    from unbraid.separation.compositions.identity import named_models
    from unbraid.separation.config import SeparationConfig
    from unbraid.separation.separator import Separator
    from unbraid.separation.stems import parse_remix

    output = OutputConfig(
        container=container,  # type: ignore[arg-type]
        sample=sample,  # type: ignore[arg-type]
        bitrate_kbps=mp3_bitrate,
        clip_mode=clip_mode,
        loudness_lufs=loudness,
        filename=filename,
        stems=tuple(stem) if stem else None,
        video=video,
        video_sound=video_sound,
        video_keep_sounds=video_keep_sounds,
        stem_file=stem_file,
    )
    config = SeparationConfig(
        segment_seconds="whole" if no_split else segment,
        overlap=overlap,
        join=join,
        batch_size=batch_size,
        shifts=shifts,
        seed=seed,
        deterministic=deterministic,
        consistency=consistency,
        refine=refine,
        refine_from_hz=refine_from,
        two_stems=two_stems,
        other_method=other_method,
        remix=parse_remix(remix) if remix else None,
        tracking=tracking,
        allow_truncated=allow_truncated,
        replace_nonfinite=replace_nonfinite,
        track=track,
        raw=_raw_format(raw, rate, channels, name),
        start_seconds=start,
        duration_seconds=duration,
        preview_seconds=preview,
        backend=backend,
        precision=precision,
        compile=compile_,
    )
    if devices is not None and device != "auto":
        raise ConfigError("--device is one, and --devices are several: choose one of them")
    where = EngineConfig(
        engine=engine,
        devices=parse_devices(devices) if devices else (device,),
        num_threads=jobs,
        address=address,
        workers=workers,
        gpus_per_worker=gpus_per_worker,
    )
    if jobs or deterministic:
        import torch

        # What chooses the models is deterministic as well.
        torch.set_num_threads(1 if deterministic else jobs)
    found = discover_audio(inputs)
    results: list[Result] = []
    for model, files in _with_models(
        name, found, [*(stem or ()), *filter(None, [two_stems]), *(config.remix or {})], quiet
    ):
        if model is None:
            for error in files.errors:
                complain(str(error))
                results.append(failed(error))
            continue
        for named in named_models(model):
            prepare_download(named, offline=offline)
        # With workers of its own, this process only needs to know what the model gives.
        separator = Separator(model, device="cpu" if where.is_remote else where.devices[0], config=config)
        if out == "-":
            separate_to_stdout(files, separator, output, level=level, as_json=as_json)
            return
        results += separate_files(
            files,
            separator,
            model,
            Url(out) if is_url(out) else Path(out),
            output,
            part=part,
            resume=resume,
            engine=where,
            level=level,
            as_json=as_json,
        )
    if json:
        print_json({"recordings": results})
    if any(result["status"] == "failed" for result in results):
        raise typer.Exit(1)


def _with_models(
    name: str, found: Discovery, stems: list[str], quiet: bool
) -> list[tuple[str, Discovery]] | list[tuple[str | None, Discovery]]:
    """The named model with all recordings, or each that was chosen with those it is for."""
    if name != "auto":
        return [(name, found)]
    from unbraid.cli.separate_auto import choose_models

    return choose_models(found, stems, quiet=quiet)


def _only_one(flags: dict[str, bool]) -> str | None:
    chosen = [name for name, is_set in flags.items() if is_set]
    if len(chosen) > 1:
        raise ConfigError(f"choose one of {', '.join(f'--{name}' for name in chosen)}")
    return chosen[0] if chosen else None


def _raw_format(raw: str | None, rate: int | None, channels: int | None, model: str) -> PcmFormat | None:
    from unbraid.audio.pcm_stream import PcmFormat

    if raw is None:
        if (rate, channels) != (None, None):
            raise ConfigError("--rate and --channels are for raw samples: say with --raw what those are")
        return None
    if rate is None:
        raise ConfigError("--raw needs the rate of the samples as well: add  --rate 16000  or the like")
    if model == "auto":
        raise ConfigError("raw samples are not listened to beforehand: choose a model with -n")
    return PcmFormat(sample=raw, sample_rate=rate, num_channels=channels or 1)  # type: ignore[arg-type]


def _parse_shard(text: str | None) -> tuple[int, int]:
    if text is None:
        return 1, 1
    match = re.fullmatch(r"(\d{1,9})/(\d{1,9})", text)
    if match is None:
        raise ConfigError(f"--shard {text[:40]} is not a part of a whole: write it as in  --shard 1/4")
    return int(match[1]), int(match[2])

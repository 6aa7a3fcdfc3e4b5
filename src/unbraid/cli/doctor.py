"""`unbraid doctor`: says what is there, what will be used, and what is broken."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Annotated

import typer

from unbraid.cli.messages import print_json
from unbraid.cli.options import flag

_LITTLE_SPACE_BYTES = 2**30
_NEEDED = ("torch", "numpy", "einops", "jaxtyping", "soundfile", "av", "soxr", "safetensors", "pydantic", "rich")
_OPTIONAL = {
    "lightning": "train",
    "tensorboard": "train",
    "matplotlib": "report",
    "huggingface_hub": "hub",
    "demucs": "zoo",
    "pymss-core": "zoo",
    "fastapi": "serve",
    "uvicorn": "serve",
    "python-multipart": "serve",
    "onnxruntime": "onnx",
    "fsspec": "cloud",
    "ray": "ray",
    "sounddevice": "live",
}
"""Packages, and the extra that brings each."""


@dataclass(frozen=True)
class Check:
    """One thing that was looked at."""

    name: str
    status: str
    """"ok"; "note" for what is missing and not needed; "broken" for what separation needs."""
    text: str


def doctor(json: Annotated[bool, flag("--json", "Print data as JSON instead of text.")] = False) -> None:
    """Checks this installation: versions, devices, decoders, precision, disk space, models.

    The exit status is not 0 when something that separation needs is broken.

    [bold]Examples[/bold]

    unbraid doctor
    unbraid doctor --json
    """
    checks = run_checks()
    broken = [check for check in checks if check.status == "broken"]
    if json:
        print_json({"ok": not broken, "checks": [asdict(check) for check in checks]})
    else:
        from rich.markup import escape

        from unbraid.cli.tables import make_console, make_table

        table = make_table()
        colours = {"ok": "green", "note": "yellow", "broken": "bold red"}
        for check in checks:
            table.add_row(f"[{colours[check.status]}]{check.status}[/]", check.name, escape(check.text))
        make_console().print(table)
        typer.echo("something needed is broken" if broken else "all that separation needs is there")
    if broken:
        raise typer.Exit(1)


def run_checks() -> list[Check]:
    """Every check; one that fails in an unforeseen way counts as broken."""
    checks: list[Check] = []
    for look in (_versions, _devices, _precision, _threads, _compiled, _decoders, _sound, _space, _settings, _models):
        try:
            checks += look()
        except Exception as error:
            checks.append(Check(look.__name__.strip("_"), "broken", f"{type(error).__name__}: {error}"))
    return checks


def _versions() -> list[Check]:
    import platform
    from importlib.metadata import PackageNotFoundError, version

    import unbraid

    checks = [
        Check("unbraid", "ok", unbraid.__version__),
        Check("python", "ok", f"{platform.python_version()} on {platform.system()} {platform.machine()}"),
    ]
    for name in (*_NEEDED, *_OPTIONAL):
        try:
            checks.append(Check(name, "ok", version(name)))
        except PackageNotFoundError:
            extra = _OPTIONAL.get(name)
            text = f"not installed (optional): pip install 'unbraid[{extra}]'" if extra else "not installed"
            checks.append(Check(name, "note" if extra else "broken", text))
    return checks


def _devices() -> list[Check]:
    import torch

    from unbraid.separation.device import choose_device

    names = [f"cuda:{index} ({torch.cuda.get_device_name(index)})" for index in range(torch.cuda.device_count())]
    if torch.backends.mps.is_available():
        names.append("mps")
    used = choose_device("auto")
    checks = [Check("devices", "ok", f"{', '.join([*names, 'cpu'])}; --device auto takes {used}")]
    if torch.version.cuda and not torch.cuda.is_available():
        checks.append(Check("cuda", "note", "torch is built for CUDA and sees no GPU: check driver and visibility"))
    value = (torch.ones(8, 8, device=used) @ torch.ones(8, 8, device=used)).sum().item()
    right = abs(value - 512) < 1e-3
    checks.append(
        Check("arithmetic", "ok" if right else "broken", f"a product on {used} is {'right' if right else value}")
    )
    return checks


def _precision() -> list[Check]:
    import torch

    from unbraid.separation.device import choose_device

    device = choose_device("auto")
    kinds = ["float32"]
    for kind in (torch.bfloat16, torch.float16):
        try:
            layer = torch.nn.Conv1d(4, 4, 3, device=device, dtype=kind)
            if torch.isfinite(layer(torch.ones(1, 4, 8, device=device, dtype=kind))).all():
                kinds.append(str(kind).removeprefix("torch."))
        except (RuntimeError, TypeError):
            continue
    return [Check("precision", "ok", f"{', '.join(kinds)} on {device}")]


def _threads() -> list[Check]:
    import os

    import torch

    waiting = os.environ.get("OMP_WAIT_POLICY", "not set")
    text = f"{torch.get_num_threads()} of {os.cpu_count()} processors, OMP_WAIT_POLICY {waiting}"
    return [Check("threads", "ok", text)]


def _compiled() -> list[Check]:
    from unbraid.layers.kernels.compiled import describe, library

    loops = {"scan of Mamba": "selective_scan", "filters of S4M": "normed_filter"}
    return [Check(name, "note" if library(loop) is None else "ok", describe(loop)) for name, loop in loops.items()]


def _decoders() -> list[Check]:
    import av
    import numpy as np
    import soundfile

    from unbraid.audio.formats import Encoding
    from unbraid.audio.reading import open_audio

    checks = [
        Check(
            "libsndfile",
            "ok",
            f"{soundfile.__libsndfile_version__}: {', '.join(sorted(soundfile.available_formats()))}",
        ),
        Check(
            "libav", "ok", f"PyAV {av.__version__}, libavcodec {'.'.join(map(str, av.library_versions['libavcodec']))}"
        ),
    ]
    wanted: dict[str, Callable[[], bool]] = {
        name: (lambda codec=codec: codec in av.codecs_available)
        for name, codec in {"AAC": "aac", "ALAC": "alac", "Opus": "opus", "WMA": "wmav2", "AC-3": "ac3"}.items()
    }
    missing = [name for name, there in wanted.items() if not there()]
    checks.append(
        Check(
            "decoders",
            "note" if missing else "ok",
            f"not there: {', '.join(missing)}" if missing else ", ".join(wanted),
        )
    )
    for container in ("wav", "flac", "mp3", "ogg"):
        tone = (0.1 * np.sin(np.arange(16_000) / 10)).astype(np.float32)[None]
        try:
            data = _encoded(tone, Encoding(container=container))
            with open_audio(data) as reader:
                count = sum(block.shape[1] for block in reader.blocks(4096))
            good = abs(count - 16_000) < 3_000
            text = "written and read back" if good else f"{count} of 16000 samples came back"
        except Exception as error:
            good, text = False, f"{type(error).__name__}: {error}"
        status = "ok" if good else "broken" if container == "wav" else "note"
        checks.append(Check(container, status, text))
    return checks


def _sound() -> list[Check]:
    """Devices for `unbraid stream`, where the extra `live` is installed."""
    from unbraid.cli.stream_devices import import_sounddevice
    from unbraid.errors import DeviceError, MissingExtraError

    try:
        devices = import_sounddevice().query_devices()
    except MissingExtraError:
        return []  # Listed among the versions.
    except DeviceError as error:
        return [Check("sound devices", "note", str(error))]
    return [Check("sound devices", "ok", f"{len(devices)}, for  unbraid stream --input-device")]


def _encoded(samples, encoding) -> bytes:
    import tempfile
    from pathlib import Path

    from unbraid.audio.writing import write_audio

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, f"tone.{encoding.extension}")
        write_audio(path, samples, 16_000, encoding)
        return path.read_bytes()


def _space() -> list[Check]:
    import shutil
    import tempfile

    try:
        folder = tempfile.gettempdir()
    except OSError as error:
        return [Check("temporary files", "broken", f"{error.strerror}: set TMPDIR")]
    free = shutil.disk_usage(folder).free
    little = free < _LITTLE_SPACE_BYTES
    text = f"{free / 2**30:.1f} GiB free in {folder}"
    return [Check("temporary files", "note" if little else "ok", f"{text}: set TMPDIR elsewhere" if little else text)]


def _settings() -> list[Check]:
    import typer
    from typer.core import TyperGroup

    from unbraid.cli.defaults import read_defaults, settings_files
    from unbraid.cli.main import app
    from unbraid.errors import ConfigError

    group = typer.main.get_command(app)
    assert isinstance(group, TyperGroup)
    try:
        defaults = read_defaults(group, group.make_context("unbraid", [], resilient_parsing=True))
    except ConfigError as error:
        return [Check("settings", "broken", str(error))]
    if not defaults:
        looked = " or in ".join(f"'{file}'" for file in settings_files())
        return [Check("settings", "ok", f"no defaults of your own in {looked}")]
    return [
        Check(
            f"unbraid {command}",
            "ok",
            "defaults: " + ", ".join(f"{name} = {one.value!r} ('{one.file}')" for name, one in table.items()),
        )
        for command, table in defaults.items()
    ]


def _models() -> list[Check]:
    from unbraid.errors import UnbraidError
    from unbraid.weights.store import bundled_models, inspect_model, load_model

    names = bundled_models()
    if not names:
        return [Check("models", "note", "none are bundled: give a weights file to  unbraid separate -n")]
    checks = []
    for name in names:
        try:
            load_model(name)
            checks.append(Check(f"model {name}", "ok", f"hash {inspect_model(name).sha256[:12]}… is right"))
        except UnbraidError as error:
            checks.append(Check(f"model {name}", "broken", str(error)))
    return checks

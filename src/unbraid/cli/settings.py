"""What Python calls a setting and what the command line calls it: messages of the layers below name the former."""

from __future__ import annotations

import re

from unbraid.errors import ConfigError, UnbraidError

OPTIONS = {
    "accumulate": "--set accumulate",
    "allow_truncated": "--allow-truncated",
    "backend": "--backend",
    "agree_to": "unbraid models download --yes",
    "bitrate_kbps": "--mp3-bitrate",
    "catalogue_names": "unbraid models list --all",
    "clip_mode": "--clip-mode",
    "compile": "--compile",
    "consistency": "--consistency",
    'container="flac"': "--flac",
    'container="mp3"': "--mp3",
    'container="wav"': "--wav",
    "data": "--data",
    "address": "--address",
    "deterministic": "--deterministic",
    "device": "--device",
    "devices": "--devices",
    "filename": "--filename",
    "init": "--init",
    "intersection": "--intersection",
    "jobs": "--jobs",
    "join": "--join",
    "json": "--json",
    "layout": "--layout",
    "LAYOUTS": "unbraid check-data --list",
    "level": "--set level",
    "limit": "--limit",
    'engine="ray"': "--engine ray",
    "duration_seconds": "--duration",
    "loudness_lufs": "--loudness",
    "preview_seconds": "--preview",
    "start_seconds": "--start",
    "replace_nonfinite": "--replace-nonfinite",
    "metric": "--metric",
    "metrics": "--metrics",
    "model": "-n",
    "model.KEY": "--set model.KEY",
    "optimiser.name": "--set optimiser.name",
    "other_method": "--other-method",
    "noise": "--noise",
    "num_channels": "--channels",
    "out": "--out",
    "overlap": "--overlap",
    "precision": "--precision",
    "preset": "--preset",
    "raw": "--raw",
    "refine": "--refine",
    "refine_from_hz": "--refine-from",
    "remix": "--remix",
    "resume": "--resume",
    "sample_rate": "--rate",
    "seconds": "--seconds",
    "segment_seconds": "--segment",
    "progress": "--progress",
    "shard": "--shard",
    "shifts": "--shifts",
    "skip_missing": "--skip-missing",
    "sound_font": "--sound-font",
    "split": "--split",
    "stems": "--stem",
    "strategy": "--strategy",
    "token": "--token",
    "track": "--track",
    "tracking": "--tracking",
    "host": "--host",
    "port": "--port",
    "two_stems": "--two-stems",
    "gpus_per_worker": "--gpus-per-worker",
    "stem_file": "--stem-file",
    "video": "--video",
    "video_keep_sounds": "--video-keep-sounds",
    "video_sound": "--video-sound",
    "whole": "--whole",
    "workers": "--workers",
    "whole=False": "--chunked",
}
"""A setting, or a setting with a value that has an option of its own, and the option of the commands that have it."""

_SETTING = re.compile(r"`([A-Za-z_.]+)(?:=([^`]+))?`")


def in_options(error: UnbraidError) -> str:
    """The sentence of an error, as the command line says it; a setting that is its subject is an option as well."""
    subject = OPTIONS.get(error.subject, error.subject) if isinstance(error, ConfigError) else error.subject
    return as_options(f"{subject} {error.predicate}" if subject else error.predicate)


def as_options(sentence: str) -> str:
    """The sentence with its settings in backticks replaced: `device="cpu"` reads --device cpu. None, which stands for
    an option that is left out, is nothing that can be written there."""
    return _SETTING.sub(_option, sentence.replace(" or None, not ", ", not "))


def _option(found: re.Match[str]) -> str:
    whole, name, value = found[0].strip("`"), found[1], found[2]
    option = OPTIONS.get(whole) or OPTIONS.get(name)
    if option is None:
        return found[0]
    if whole in OPTIONS or value == "True":
        return option
    joint = "=" if option.startswith("--set ") else " "
    return f"{option}{joint}{value.strip(chr(34))}"

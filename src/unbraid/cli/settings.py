"""What Python calls a setting and what the command line calls it: messages of the layers below name the former."""

from __future__ import annotations

import re

OPTIONS = {
    "accumulate": "--set accumulate",
    "allow_truncated": "--allow-truncated",
    'container="flac"': "--flac",
    'container="mp3"': "--mp3",
    'container="wav"': "--wav",
    "data": "--data",
    "device": "--device",
    "filename": "--filename",
    "init": "--init",
    "intersection": "--intersection",
    "json": "--json",
    "LAYOUTS": "unbraid check-data --list",
    "level": "--set level",
    "metrics": "--metrics",
    "model.KEY": "--set model.KEY",
    "optimiser.name": "--set optimiser.name",
    "out": "--out",
    "overlap": "--overlap",
    "preset": "--preset",
    "remix": "--remix",
    "mend_samples": "--mend-samples",
    "resume": "--resume",
    "sample_rate": "--rate",
    "seconds": "--seconds",
    "segment_seconds": "--segment",
    "shard": "--shard",
    "skip_missing": "--skip-missing",
    "sound_font": "--sound-font",
    "strategy": "--strategy",
    "whole=False": "--chunked",
    "whole": "--whole",
}
"""A setting, or a setting with a value that has an option of its own, and the option of the commands that have it."""

_SETTING = re.compile(r"`([A-Za-z_.]+)(?:=([^`]+))?`")


def as_options(sentence: str) -> str:
    """The sentence with its settings in backticks replaced: `device="cpu"` reads --device cpu."""
    return _SETTING.sub(_option, sentence)


def _option(found: re.Match[str]) -> str:
    whole, name, value = found[0].strip("`"), found[1], found[2]
    option = OPTIONS.get(whole) or OPTIONS.get(name)
    if option is None:
        return found[0]
    if whole in OPTIONS or value == "True":
        return option
    joint = "=" if option.startswith("--set ") else " "
    return f"{option}{joint}{value.strip(chr(34))}"

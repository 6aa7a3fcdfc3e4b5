"""Defaults of options out of `unbraid.toml`: the user's own file, and one in the working folder, which goes first."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup, TyperOption

from unbraid.cli.messages import complain, speak_json
from unbraid.errors import ConfigError
from unbraid.files.cache import user_path
from unbraid.files.names import printable

FILE_NAME = "unbraid.toml"

_EXCLUSIVE = (
    ("wav", "flac", "mp3", "ogg"),
    ("int16", "int24", "float32"),
    ("segment", "no_split"),
    ("overlap", "no_split"),
    ("quiet", "verbose", "log_level"),
    ("preview", "start"),
    ("preview", "duration"),
)
"""Options of which one takes the place of the others."""


@dataclass(frozen=True)
class Default:
    """What a file says of one option."""

    value: Any
    file: Path


def settings_files() -> list[Path]:
    """The user's file ($UNBRAID_CONFIG names another) and that of the working folder; neither need exist. A user
    without a home has no file of the own."""
    if chosen := os.environ.get("UNBRAID_CONFIG"):
        own = user_path(chosen)
    else:
        windows = sys.platform == "win32"
        base = os.environ.get("APPDATA" if windows else "XDG_CONFIG_HOME") or ("~/AppData" if windows else "~/.config")
        home = user_path(base)
        own = None if home is None else home / "unbraid" / FILE_NAME
    return [*([] if own is None else [own]), Path(FILE_NAME)]


def read_defaults(group: TyperGroup, context: Any) -> dict[str, dict[str, Default]]:
    """By command and parameter, what the files say; raises ConfigError for what is no setting."""
    merged: dict[str, dict[str, Default]] = {}
    for file in settings_files():
        for name, table in _read(file).items():
            command = group.get_command(context, name)
            if not isinstance(command, TyperCommand) or not isinstance(table, Mapping):
                raise ConfigError(
                    f"'{name}' is no command with options", subject=_shown(file), remedy="write [separate] or the like"
                )
            chosen = merged.setdefault(name, {})
            found = dict(_options(table, command, context, file))
            for parameter in found:
                for rival in _rivals(parameter):
                    chosen.pop(rival, None)
            chosen.update(found)
    return merged


class CommandWithDefaults(TyperCommand):
    """A command whose options may come from `unbraid.toml`; one on the command line displaces its rivals there."""

    def invoke(self, ctx: Any) -> Any:
        speak_json(ctx.params.get("progress") == "json")
        sources = {parameter.name: ctx.get_parameter_source(parameter.name) for parameter in self.params}
        of = {name: source.name if source else "" for name, source in sources.items()}
        given = [name for name, source in of.items() if source == "COMMANDLINE"]
        displaced = {rival for name in given for rival in _rivals(name or "")}
        used = []
        for parameter in self.params:
            if of[parameter.name] != "DEFAULT_MAP" or not isinstance(parameter, TyperOption):
                continue
            if parameter.name in displaced:
                ctx.params[parameter.name] = False if parameter.is_flag else None
            else:
                used.append(parameter.opts[0])
        if used and not ctx.params.get("quiet"):
            complain(f"{', '.join(used)}: as {FILE_NAME} has it, see  unbraid doctor", kind="settings")
        return super().invoke(ctx)


def _rivals(name: str) -> Iterator[str]:
    return (rival for group in _EXCLUSIVE if name in group for rival in group if rival != name)


def _read(file: Path) -> dict[str, Any]:
    import tomllib

    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except RecursionError as error:
        raise ConfigError("is nested too deep", subject=_shown(file), remedy="mend it") from error
    except (OSError, ValueError) as error:
        # The home of another user, as root's is in a container that runs as somebody else, holds no file of ours.
        if isinstance(error, PermissionError) and not os.access(file.parent, os.X_OK):
            return {}
        raise ConfigError(f"cannot be read as TOML ({error})", subject=_shown(file), remedy="mend it") from error


def _options(
    table: Mapping[str, Any], command: TyperCommand, context: Any, file: Path
) -> Iterator[tuple[str, Default]]:
    known = {
        option.removeprefix("--").replace("-", "_"): parameter
        for parameter in command.params
        if isinstance(parameter, TyperOption) and not parameter.is_eager
        for option in parameter.opts
        if option.startswith("--")
    }
    for key, value in table.items():
        parameter = known.get(key.replace("-", "_"))
        if parameter is None or parameter.name is None:
            from difflib import get_close_matches

            near = get_close_matches(key.replace("-", "_"), known, 1)
            remedy = f"did you mean '{near[0]}'?" if near else f"unbraid {command.name} --help  lists the options"
            raise ConfigError(f"'{key}' is no option of {command.name}", subject=_shown(file), remedy=remedy)
        yield parameter.name, Default(_converted(value, parameter, context, f"{command.name}.{key}", file), file)


def _converted(value: Any, parameter: TyperOption, context: Any, key: str, file: Path) -> Any:
    """As the command line would write it, so that both are read in the same way."""
    if parameter.is_flag:
        if isinstance(value, bool):
            return value
        raise ConfigError(f"'{key}' is true or false, not {value!r}", subject=_shown(file))
    several = value if isinstance(value, list) and parameter.multiple else [value]
    if any(isinstance(one, bool | dict | list) for one in several):
        raise ConfigError(f"'{key}' is a number or a text, not {value!r}", subject=_shown(file))
    written = [str(one) for one in several] if parameter.multiple else str(value)
    try:
        parameter.process_value(context, written)
    except typer.BadParameter as error:
        raise ConfigError(
            f"'{key}': {error.message.removeprefix('Value error, ').rstrip('.')}", subject=_shown(file)
        ) from error
    return written


def _shown(file: Path) -> str:
    return f"'{printable(file)}'"

"""Names of the files that a recording becomes: a template, filled in so that it can never lead out of its folder."""

from __future__ import annotations

import os
import string
import sys
from dataclasses import dataclass, field
from pathlib import Path, PurePath

from unbraid.audio.encode.video import video_container
from unbraid.errors import ConfigError

_ALIASES = {"file_name": "track", "instr": "stem"}
"""As Music-Source-Separation-Training calls them."""
_FIELDS = ("track", "stem", "ext", "trackext", "model")

_LONGEST_BYTES = 150
"""ours: of each value in a name. File systems allow 255 for the whole name, temporary marks included."""


_WINDOWS_DEVICES = {"con", "prn", "aux", "nul", *(f"{port}{number}" for port in ("com", "lpt") for number in range(10))}
"""Names that are devices on Windows, in every folder and with every extension."""


@dataclass(frozen=True)
class FilenameTemplate:
    """A pattern for the files of one recording, such as "{track}/{stem}.{ext}"; what it gives is a name below a folder.

    Fields: track (name of the recording without its extension), stem, ext (of the output), trackext (of the input) and
    model; file_name and instr mean track and stem. Without {ext}, the extension is added.
    """

    text: str = "{track}/{stem}.{ext}"

    fields: frozenset[str] = field(init=False)
    """Which values the names depend on."""

    def __post_init__(self) -> None:
        try:
            fields = [part for part in string.Formatter().parse(self.text) if part[1] is not None]
            names = {name for _, name, _, _ in fields if name is not None}
            if any(width or conversion for _, _, width, conversion in fields):
                # Fill characters would bring slashes and dots back that `safe_name` has taken out.
                raise ConfigError(
                    "takes no widths and conversions", subject=f"`filename` '{self.text}'", remedy="try {track}/{stem}"
                )
            for name in names:
                if _ALIASES.get(name, name) not in _FIELDS:
                    choices = ", ".join(f"{{{known}}}" for known in (*_FIELDS, *_ALIASES))
                    raise ConfigError(f"has an unknown field {{{name}}}", subject="`filename`", remedy=f"use {choices}")
            parts = PurePath(self.text.format(**dict.fromkeys((*_FIELDS, *_ALIASES), "x"))).parts
        except (ValueError, IndexError, AttributeError) as error:
            if isinstance(error, ConfigError):
                raise
            raise ConfigError(
                f"is not a template ({error})", subject=f"`filename` '{self.text}'", remedy="try {track}/{stem}"
            ) from error
        if not parts or ".." in parts or PurePath(self.text).is_absolute():
            raise self._leads_out()
        if self.text.endswith("/"):
            raise self._has_no_name()
        object.__setattr__(self, "fields", frozenset(_ALIASES.get(name, name) for name in names))

    def fill(self, *, track: str, stem: str, extension: str, track_extension: str, model: str) -> PurePath:
        """The path of one stem below the output folder; whatever the values hold, each stays one part of a name."""
        values = {
            "track": safe_name(track),
            "stem": safe_name(stem),
            "ext": extension,
            "trackext": safe_name(track_extension) if track_extension else "",
            "model": safe_name(model),
        }
        values |= {alias: values[meaning] for alias, meaning in _ALIASES.items()}
        name = self.text.format(**values)
        if "ext" not in self.fields and not self.text.lower().endswith(f".{extension}"):
            name += f".{extension}"
        path = PurePath(name)
        # The parts between the fields may have come together to something else than they were apart.
        if path.is_absolute() or ".." in path.parts:
            raise self._leads_out()
        if name.endswith("/") or path.name in ("", f".{extension}"):
            raise self._has_no_name()
        return path

    def _leads_out(self) -> ConfigError:
        return ConfigError(
            "leads out of the output folder", subject=f"`filename` '{self.text}'", remedy="choose that with `out`"
        )

    def _has_no_name(self) -> ConfigError:
        return ConfigError(
            "leaves stems without a name",
            subject=f"`filename` '{self.text}'",
            remedy="put a field such as {stem} behind its last slash",
        )


@dataclass(frozen=True, kw_only=True)
class OutputPaths:
    """Where the files of one recording go."""

    track: str
    """Name of the recording among all of a run."""
    stems: dict[str, Path]
    """One path per stem, in the order of the stems."""
    record: Path
    """The JSON file that tells how the stems were made."""
    extras: dict[str, Path] = field(default_factory=dict)
    """Files that are made of the stems: "video" and "stem_file"."""

    @property
    def folder(self) -> Path:
        """The folder that holds everything of this recording."""
        return self.record.parent

    def below(self, root: Path) -> OutputPaths:
        """The same below another root; only of relative paths."""
        stems = {stem: root / path for stem, path in self.stems.items()}
        extras = {name: root / path for name, path in self.extras.items()}
        return OutputPaths(track=self.track, stems=stems, record=root / self.record, extras=extras)

    @property
    def all_stems_and_extras(self) -> tuple[Path, ...]:
        """Everything but the record."""
        return (*self.stems.values(), *self.extras.values())


def plan_paths(
    root: Path,
    subfolder: PurePath,
    template: FilenameTemplate,
    *,
    track: str,
    track_extension: str,
    stems: tuple[str, ...],
    extension: str,
    model: str,
    video_stem: str | None = None,
    stem_file: bool = False,
) -> OutputPaths:
    """Paths root/[model/]subfolder/filled template; the model has a folder unless the template names it.

    `extension` is that of the output, `track_extension` that of the recording, both without the dot; `video_stem` is
    the sound of a video.
    """
    base = root if "model" in template.fields else root / safe_name(model)
    base = base.joinpath(*(safe_name(part) for part in subfolder.parts))
    values = {"track": track, "extension": extension, "track_extension": track_extension, "model": model}
    paths = {stem: base / template.fill(stem=stem, **values) for stem in stems}
    folder = Path(os.path.commonpath([path.parent for path in paths.values()]))
    extras: dict[str, Path] = {}
    if video_stem is not None:
        values["extension"] = video_container(track_extension)
        extras["video"] = base / template.fill(stem=video_stem, **values)
    if stem_file:
        extras["stem_file"] = folder / f"{safe_name(track)}.stem.mp4"
    return OutputPaths(track=track, stems=paths, record=folder / f"{safe_name(track)}.unbraid.json", extras=extras)


def safe_name(text: str, longest_bytes: int = _LONGEST_BYTES) -> str:
    """`text` as one part of a path: no slashes, no control characters, not empty, not "..", and not too long."""
    kept = "".join("_" if letter in "/\\" or ord(letter) < 32 or letter == "\x7f" else letter for letter in text)
    # Names of several bytes a letter, even invalid ones, are cut between letters.
    while len(os.fsencode(kept)) > longest_bytes:
        kept = kept[:-1]
    # Windows drops spaces and dots at the end, which would make two names one; "." and ".." vanish here as well.
    kept = kept.rstrip(" .") or "_"
    return _fit_for_windows(kept) if sys.platform == "win32" else kept


def _fit_for_windows(name: str) -> str:
    """Without letters that mean something else there, as the colon begins a hidden stream of a file, and no device."""
    name = "".join("_" if letter in '<>:"|?*' else letter for letter in name)
    return f"_{name}" if name.split(".")[0].rstrip().lower() in _WINDOWS_DEVICES else name

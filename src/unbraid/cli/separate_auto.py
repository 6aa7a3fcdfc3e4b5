"""`unbraid separate -n auto`: hears what each recording is, and says which model it goes to."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from unbraid.audio.discovery import AudioFile, Discovery
from unbraid.cli.messages import complain
from unbraid.errors import UnbraidError
from unbraid.files.names import printable
from unbraid.separation.choice import KIND_NAMES, choose_model, kind_of_stems
from unbraid.separation.detector import Kind, detect

_HOW = "choose otherwise with -n, see  unbraid models list"


def choose_models(found: Discovery, stems: Iterable[str], *, quiet: bool) -> list[tuple[str | None, Discovery]]:
    """A model for each group of recordings; those that no model here is for are errors of the first.

    Stems that are asked for by name tell the kind; otherwise the first minute of each recording is listened to.
    """
    told = kind_of_stems(stems)
    groups: dict[Kind, list[AudioFile]] = {}
    others: list[AudioFile] = []
    for file in found.files:
        kind: Kind | None = told or _hear(file, quiet=quiet)
        if kind is None:
            others.append(file)
        else:
            groups.setdefault(kind, []).append(file)
    heard = {kind: tuple(files) for kind, files in groups.items()}
    if others:
        # What holds nothing to separate, or cannot be read, goes wherever others go.
        fullest: Kind = max(groups, key=lambda kind: len(groups[kind])) if groups else "talk"
        groups.setdefault(fullest, []).extend(others)
    chosen: list[tuple[str, list[AudioFile]]] = []
    errors: list[UnbraidError] = []
    for kind, files in groups.items():
        choice = choose_model(kind)
        if choice.name is None:
            errors += [choice.missing(f"'{printable(file.path)}'", heard=told is None) for file in files]
            continue
        chosen.append((choice.name, files))
        if not quiet and told is None and (sounding := heard.get(kind)):
            complain(f"{_sounds_like(sounding, kind)}: the model '{choice.name}' separates it; {_HOW}", kind="auto")
    every = (*found.errors, *errors)
    if not chosen:
        if len(every) == 1:
            raise every[0]
        return [(None, Discovery((), every))]
    return [
        (name, Discovery(tuple(files), every if number == 0 else ())) for number, (name, files) in enumerate(chosen)
    ]


def _hear(file: AudioFile, *, quiet: bool) -> Kind | None:
    """What a recording is; None where it holds nothing to separate, which is said, or cannot be read."""
    if file.path == Path("-"):
        if not quiet:
            complain(f"standard input is not listened to beforehand and taken for talk; {_HOW}", kind="auto")
        return "talk"
    try:
        detection = detect(file.path)
    except UnbraidError:
        return None
    if detection.kind is None and not quiet:
        what = detection.nothing or "silence"
        complain(f"{printable(file.path)} holds nothing but {what}, so the model does not matter", kind="auto")
    return detection.kind


def _sounds_like(files: Sequence[AudioFile], kind: Kind) -> str:
    if len(files) == 1:
        return f"{printable(files[0].path)} sounds like {KIND_NAMES[kind]}"
    return f"{len(files)} recordings sound like {KIND_NAMES[kind]}"

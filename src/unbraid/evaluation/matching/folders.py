"""Finds out which file of a folder is the estimate of which source of which track.

Known trees, with any folders above and any audio format:

    track/stem.wav               unbraid, demucs, spleeter, MSST
    track_model/stem.wav         open-unmix
    track_(Stem)_model.flac      audio-separator
    track_stem.wav, track-stem.wav, track_s1.wav, track_est1.wav

Capitals, accents as two signs, hyphens and underscores do not matter, and a source may go by its other names.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePath

from unbraid.audio.discovery import discover_audio
from unbraid.data.clips import open_clips, refuse_truncated
from unbraid.data.items import Clip
from unbraid.errors import DataError
from unbraid.evaluation.matching.source_names import fold, name_rest, source_names
from unbraid.evaluation.tracks import Track, TrackList

_NOT_ESTIMATES = frozenset(["mixture", "mix", "input", "noisy", "noise", "residual", "reference"])
_MOST_NAMED = 5


def match_folder(root: Path, tracks: TrackList, *, skip_missing: bool = False) -> dict[str, dict[str, Clip]]:
    """For every track its estimates by source; of speakers, by whatever their files are called.

    Raises DataError where something is missing or found twice; `skip_missing` leaves incomplete tracks out.
    """
    files = [(Path(file.path), file.relative) for file in _files(root)]
    finder = _Finder(tracks)
    found: dict[str, dict[str, Path]] = {track.name: {} for track in tracks.tracks}
    for path, relative in files:
        hit = finder.find(relative)
        if hit is None:
            continue
        track, stem = hit
        if stem in found[track]:
            raise DataError(
                f"two files are the estimate '{stem}' of '{track}', {_short(found[track][stem], root)} and "
                f"{_short(path, root)}",
                remedy="name the folder of one tool and one run",
            )
        found[track][stem] = path
    if not any(found.values()):
        seen = ", ".join(str(relative) for _, relative in files[:_MOST_NAMED])
        raise DataError(
            f"no file of {root} is named after a track of {tracks.name}, such as '{tracks.tracks[0].name}': expected "
            f"{root}/TRACK/SOURCE.wav and found {seen}"
        )
    if not tracks.exchangeable:
        stems = list(dict.fromkeys(stem for own in found.values() for stem in own))
        rest = name_rest(stems, tracks.sources)
        found = {name: {rest.get(stem, stem): path for stem, path in own.items()} for name, own in found.items()}
    complete = _complete(root, tracks, found, skip_missing)
    clips = open_clips([path for name in complete for path in found[name].values()])
    refuse_truncated(clips)
    opened = iter(clips)
    return {name: {stem: next(opened) for stem in found[name]} for name in complete}


def _complete(root: Path, tracks: TrackList, found: dict[str, dict[str, Path]], skip_missing: bool) -> list[str]:
    """Names of the tracks that have all their estimates."""
    stems = sorted({stem for own in found.values() for stem in own})
    problems: dict[str, str] = {}
    for track in tracks.tracks:
        own = found[track.name]
        if not own:
            problems[track.name] = f"'{track.name}'"
        elif tracks.exchangeable and len(own) != len(tracks.sources):
            problems[track.name] = f"'{track.name}' ({len(own)} files for {len(tracks.sources)} speakers)"
        elif not tracks.exchangeable:
            lacking = [stem for stem in stems if stem not in own and track.knows(stem)]
            if lacking:
                problems[track.name] = f"'{track.name}' ({', '.join(lacking)})"
    if problems and not skip_missing:
        named = ", ".join(list(problems.values())[:_MOST_NAMED])
        more = f" and {len(problems) - _MOST_NAMED} more" if len(problems) > _MOST_NAMED else ""
        raise DataError(
            f"estimates are missing in {root} for {len(problems)} of {len(tracks.tracks)} tracks: {named}{more}; "
            f"expected {root}/TRACK/SOURCE.wav",
            remedy="add them, or skip these tracks with `skip_missing=True`",
        )
    complete = [track.name for track in tracks.tracks if track.name not in problems]
    if not complete:
        raise DataError(f"no track of {tracks.name} has all its estimates in {root}: nothing can be scored")
    return complete


class _Finder:
    """Knows the names of tracks and sources in the form in which they are compared."""

    def __init__(self, tracks: TrackList) -> None:
        self.exchangeable = tracks.exchangeable
        self.tracks: dict[str, str] = {}
        for name, track in _track_names(tracks.tracks):
            self.tracks.setdefault(name, track)
        self.longest_first = sorted(self.tracks, key=len, reverse=True)
        self.stems = source_names(tracks.sources)

    def find(self, relative: PurePath) -> tuple[str, str] | None:
        """Track and source that the file is the estimate of."""
        folders = [fold(folder) for folder in reversed(relative.parts[:-1])]
        named = [self.tracks[folder] for folder in folders if folder in self.tracks]
        named += [track[0] for folder in folders if (track := self._begins(folder))]
        if named:
            stem = self._stem(relative.stem)
            return (named[0], stem) if stem else None
        folded = fold(relative.stem)
        if track := self._begins(folded):
            # The rest in its own spelling, whose brackets say where the source stands.
            stem = self._stem(relative.stem, rest=folded[len(track[1]) :].strip())
            return (track[0], stem) if stem else None
        return None

    def _begins(self, text: str) -> tuple[str, str] | None:
        """The track with the longest name that the text is, or begins with as a whole word."""
        if text in self.tracks:
            return self.tracks[text], text
        return next(((self.tracks[name], name) for name in self.longest_first if text.startswith(f"{name} ")), None)

    def _stem(self, text: str, rest: str | None = None) -> str | None:
        rest = fold(text) if rest is None else rest
        if self.exchangeable:
            return rest if rest and rest not in _NOT_ESTIMATES else None
        for bracket in re.findall(r"\(([^()]*)\)", text)[::-1]:
            if stem := self.stems.get(fold(bracket)):
                return stem
        if stem := self.stems.get(rest):
            return stem
        words = [name for name in self.stems if re.search(rf"(^| ){re.escape(name)}( |$)", rest)]
        # The longest, since "no vocals" holds "vocals" as well.
        return self.stems[max(words, key=len)] if words else None


def _track_names(tracks: Sequence[Track]) -> Iterable[tuple[str, str]]:
    """Every track under its name, and under the last part of it where no other ends so."""
    ends = [PurePath(track.name).name for track in tracks]
    for track in tracks:
        yield fold(track.name), track.name
    for track, end in zip(tracks, ends, strict=True):
        if ends.count(end) == 1:
            yield fold(end), track.name


def _files(root: Path):
    found = discover_audio([root])
    for error in found.errors:
        raise DataError.of(error) from error
    return found.files


def _short(path: Path, root: Path) -> str:
    return str(path.relative_to(root)) if path.is_relative_to(root) else str(path)

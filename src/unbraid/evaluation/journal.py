"""What an evaluation has done so far, so that an interrupted one can resume: a file of one line per finished track.

The first line says what is evaluated. A line that was cut off by a crash is as if it had never been written.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from unbraid.errors import DataError
from unbraid.evaluation.scores import FORMAT, Scores, TrackScore, plain, read_scores, read_track, track_data
from unbraid.files.json_text import JsonError, of_kind, parse_json
from unbraid.files.names import printable
from unbraid.files.pending import PendingFile, write_pending, writing_to


class Journal:
    """Beside the file of scores that it becomes, with `.partial` after its name."""

    def __init__(self, scores_path: Path, facts: Mapping[str, Any]) -> None:
        """`facts` identify the evaluation; see `identity`."""
        self.scores_path = scores_path
        self.path = scores_path.with_name(f"{scores_path.name}.partial")
        self.facts = plain({"format": FORMAT, **facts})

    def begin(self) -> None:
        """Starts anew. Raises DataError where an interrupted evaluation would be lost by that."""
        if self.path.exists() and (count := self.path.read_bytes().count(b"\n") - 1) > 0:
            raise DataError(
                f"holds {count} tracks of an interrupted evaluation",
                subject=str(self.path),
                remedy="continue with `resume=True`, or remove it",
            )
        self._write([])

    def resume(self) -> list[TrackScore]:
        """What is done already, here or in the finished file; starts anew where there is neither.

        Raises DataError where that is of another evaluation.
        """
        if not self.path.exists() and self.scores_path.exists():
            scores = read_scores(self.scores_path)
            self._check(plain({"format": FORMAT, **identity(scores)}), self.scores_path)
            done = list(scores.tracks)
        elif self.path.exists():
            done = self._read()
        else:
            done = []
        self._write(done)
        return done

    def append(self, track: TrackScore) -> None:
        """Keeps one finished track, on the disk when this returns."""
        line = _line(track_data(track))
        with writing_to(f"'{self.path}'"):
            descriptor = os.open(self.path, os.O_WRONLY | os.O_APPEND)
            try:
                os.write(descriptor, line)
                os.fsync(descriptor)
            finally:
                os.close(descriptor)

    def remove(self) -> None:
        """Once the file of scores is whole."""
        self.path.unlink(missing_ok=True)

    def _write(self, done: list[TrackScore]) -> None:
        """The whole file, or none of it."""
        lines = [_line(self.facts), *(_line(track_data(track)) for track in done)]
        write_pending(PendingFile(self.path), b"".join(lines))

    def _read(self) -> list[TrackScore]:
        try:
            *lines, _cut_off = self.path.read_bytes().split(b"\n")
            rows = [of_kind(parse_json(line), dict, "line") for line in lines]
            if rows:
                self._check(rows[0], self.path)
            return [read_track(row) for row in rows[1:]]
        except OSError as error:
            raise DataError(f"cannot be read ({error.strerror})", subject=printable(self.path)) from error
        except JsonError as error:
            raise DataError(f"is damaged ({error})", subject=printable(self.path), remedy="remove it") from error

    def _check(self, found: Mapping[str, Any], path: Path) -> None:
        different = [key for key in self.facts if found.get(key) != self.facts[key]]
        if different:
            raise DataError(
                f"is of another evaluation (other {' and '.join(different)})",
                subject=str(path),
                remedy="name another file with `json`, or remove this one",
            )


def _line(data: Mapping[str, Any]) -> bytes:
    return f"{json.dumps(plain(data), allow_nan=False)}\n".encode()


def identity(scores: Scores) -> dict[str, Any]:
    """What must be the same for two evaluations to be the same; not how many tracks, so that a longer one can go on."""
    return {"estimates": scores.estimates, "data": scores.data, "metrics": scores.metrics, "protocol": scores.protocol}

"""Which of the sound tracks of a video is meant, and when its sound starts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from unbraid.audio.decode.containers import read_metadata
from unbraid.errors import AudioReadError
from unbraid.lazy import LazyModule

if TYPE_CHECKING:
    import av
    import av.container
    import av.stream
else:
    av = LazyModule("av")

_LEAST_LATE_SECONDS = 0.01
"""ours: less is the rounding of time stamps and the priming of codecs."""


def choose_track(container: av.container.InputContainer, wanted: str | None, name: str) -> av.AudioStream:
    """The track of that number (from 1) or language; without a wish the one flagged as default, else the first.

    One whose codec is unknown here is taken only if it is asked for, or if there is no other.
    """
    tracks = container.streams.audio
    if not tracks:
        what = "a video without sound" if container.streams.video else "no audio stream"
        raise AudioReadError(f"holds {what}", subject=name, remedy="give a file that has an audio track")
    if wanted is None:
        known = [track for track in tracks if track.codec_context is not None] or tracks
        return next((track for track in known if track.disposition & av.stream.Disposition.default), known[0])
    if wanted.isdecimal():
        if 1 <= int(wanted) <= len(tracks):
            return tracks[int(wanted) - 1]
    else:
        for track in tracks:
            # Two letters and three for one language mostly begin alike: en and eng, de and deu.
            language = (track.language or "").casefold()
            if language and (language == wanted.casefold() or language.startswith(wanted.casefold())):
                return track
    raise AudioReadError(
        f"has no sound track '{wanted}'",
        subject=name,
        remedy=f"choose a number or a language of: {describe_tracks(container)}",
    )


def describe_tracks(container: av.container.InputContainer) -> str:
    """All sound tracks, with what tells them apart."""
    return "; ".join(
        f"{number}: {', '.join(_facts(track))}" for number, track in enumerate(container.streams.audio, start=1)
    )


def _facts(track: av.AudioStream) -> list[str]:
    layout = "unknown codec" if track.codec_context is None else track.layout.name
    facts = [track.language or "", layout, read_metadata(track).get("title", "")]
    if track.disposition & av.stream.Disposition.default:
        facts.append("default")
    return [fact for fact in facts if fact and fact != "und"]


def late_seconds(container: av.container.InputContainer, sound_starts: float) -> float:
    """How long after the picture the sound starts, in seconds; 0 where there is no picture or it does not."""
    pictures = [
        float(stream.start_time * stream.time_base)
        for stream in container.streams.video
        if stream.start_time is not None
        and stream.time_base
        and not stream.disposition & av.stream.Disposition.attached_pic
    ]
    late = sound_starts - min(pictures) if pictures else 0.0
    return late if late >= _LEAST_LATE_SECONDS else 0.0

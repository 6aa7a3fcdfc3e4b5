"""Writes sound beside a picture that is copied as it is, and several sounds to one file, through libav."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, Literal

from unbraid.audio.decode.containers import open_container, read_chapters, read_metadata
from unbraid.audio.decode.tracks import choose_track, late_seconds
from unbraid.audio.encode.sound_tracks import CopiedSound, CopiedTrack, EncodedTrack, Sound
from unbraid.audio.encode.stream_copies import copy_streams, is_cover, other_data, start_of, timed
from unbraid.audio.sources import Source
from unbraid.errors import AudioReadError, AudioWriteError
from unbraid.files.protocols import Rewritable
from unbraid.lazy import LazyModule

if TYPE_CHECKING:
    import av
    import av.error
    import av.stream
else:
    av = LazyModule("av")

VideoContainer = Literal["mp4", "mov", "mkv"]

_FORMATS = {"mp4": "mp4", "mov": "mov", "mkv": "matroska"}
_BY_EXTENSION: dict[str, VideoContainer] = {"mp4": "mp4", "m4v": "mp4", "3gp": "mp4", "m4a": "mp4", "mov": "mov"}

_TURN_SECONDS = 0.5
_OF_THE_FILE = ("major_brand", "minor_version", "compatible_brands", "encoder")


def video_container(extension: str) -> VideoContainer:
    """Which a video with such a name becomes: MP4 and MOV stay what they are, and Matroska holds everything else."""
    return _BY_EXTENSION.get(extension.lower(), "mkv")


def check_picture(source: Source, container: VideoContainer) -> None:
    """Raises AudioReadError where there is no more to see than a cover, AudioWriteError where it cannot be copied."""
    with _open(source) as video, av.open(io.BytesIO(), "w", format=_FORMATS[container]) as out:
        pictures = [stream for stream in video.streams.video if not is_cover(stream)]
        if not pictures:
            raise AudioReadError("has no picture", subject=source.name, remedy="leave `video` out")
        copy_streams(pictures, out, [])
        _begin(out)


def write_with_sounds(
    file: Rewritable,
    container: VideoContainer,
    sounds: Sequence[Sound | CopiedSound],
    *,
    picture: Source | None,
    covers_only: bool = False,
    keep_sounds: bool = False,
    start: float = 0.0,
    tags: Mapping[str, str] | None = None,
) -> list[str]:
    """Pictures, subtitles, covers, chapters, attached files and tags of `picture` are copied, packet by packet.

    Its own sounds are not, or with `keep_sounds`, behind the new ones. With `covers_only`, nothing of it but its cover.
    `start` is where the sounds begin, in seconds of the picture's own clock, see `sound_start`. Gives remarks on what
    was left out, each a part of a sentence about the picture.
    """
    remarks: list[str] = []
    with ExitStack() as stack:
        source = None if picture is None else stack.enter_context(_open(picture))
        held = [] if source is None else list(source.streams)
        out = stack.enter_context(av.open(file, "w", format=_FORMATS[container], container_options=_options(container)))
        out.metadata.update({**_file_tags(source), **(tags or {})})
        shown = [stream for stream in held if stream.type == "video" and (is_cover(stream) or not covers_only)]
        copies = copy_streams(shown, out, remarks)
        tracks: list[EncodedTrack | CopiedTrack] = []
        for sound in sounds:
            kind = EncodedTrack if isinstance(sound, Sound) else CopiedTrack
            tracks.append(kind(out, sound, start))  # pyright: ignore[reportArgumentType]
            stack.callback(tracks[-1].close)
        if source is not None and not covers_only:
            kept = ("audio", "subtitle", "attachment") if keep_sounds else ("subtitle", "attachment")
            behind = copy_streams([stream for stream in held if stream.type in kept], out, remarks)
            for stream, copy in behind.items():
                if stream.type == "audio":
                    copy.disposition = stream.disposition & ~av.stream.Disposition.default
            copies |= behind
            out.set_chapters(read_chapters(source))
            remarks += [f"has a track of data ({name}), which the video is without" for name in other_data(source)]
        _begin(out)
        packets = [stream for stream in copies if stream.type != "attachment"]
        for packet in timed(source.demux(packets)) if source is not None and packets else ():
            if not is_cover(packet.stream):
                for track in tracks:
                    track.write_until(float(packet.dts * packet.time_base))
            packet.stream = copies[packet.stream]
            out.mux(packet)
        # In turn, so that players find all tracks of a moment beside each other.
        moment = start
        while any(not track.is_done for track in tracks):
            moment += _TURN_SECONDS
            for track in tracks:
                track.write_until(moment)
    return remarks


def sound_start(source: Source, wanted: str | None) -> tuple[float, str]:
    """Where on the picture's clock the first sample of a sound track is as it is read, and the track's language."""
    with _open(source) as container:
        track = choose_track(container, wanted, source.name)
        language = "" if track.language in (None, "und") else str(track.language)
        pictures = [start_of(stream) for stream in container.streams.video if not is_cover(stream)]
        frame = next((frame for frame in container.decode(track) if frame.time is not None), None)
        sound = start_of(track) if frame is None else frame.time
        # What starts late is read with a silence in front that begins with the picture.
        return (min(pictures) if late_seconds(container, sound) else sound), language


def _begin(out: Any) -> None:
    """Writes the header, where a container says no to what it was asked about."""
    try:
        out.start_encoding()
    except (av.error.FFmpegError, ValueError) as error:
        names = ", ".join(stream.codec_context.name for stream in out.streams if stream.codec_context is not None)
        raise AudioWriteError(
            f"cannot put {names} into one {out.format.name.upper()} ({error})",
            remedy="convert the video to MP4 or Matroska first",
        ) from error


def _options(container: VideoContainer) -> dict[str, str]:
    # Names of their own, as telephones write place and make, are kept by QuickTime files only, and only when asked.
    return {"movflags": "use_metadata_tags"} if container == "mov" else {}


def _file_tags(source: Any) -> dict[str, str]:
    """Without those that tell of the file that was."""
    metadata = {} if source is None else read_metadata(source)
    return {name: text for name, text in metadata.items() if name.lower() not in _OF_THE_FILE}


def _open(source: Source) -> Any:
    try:
        return open_container(source.open(), {"fflags": "+genpts"})  # AVI stores no times at which pictures are shown
    except (av.error.FFmpegError, OSError, ValueError) as error:
        raise AudioReadError(
            "has no picture that can be read", subject=source.name, remedy="leave `video` out"
        ) from error

"""Copies the streams of a video packet by packet: what goes into which container, and times that are missing."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from unbraid.audio.decode.containers import codec_name, read_chapters, read_metadata
from unbraid.errors import AudioWriteError
from unbraid.files.names import printable
from unbraid.lazy import LazyModule

if TYPE_CHECKING:
    import av
    import av.error
    import av.stream
else:
    av = LazyModule("av")

_MOST_UNDATED = 64
"""ours: packets of a stream in a row; more than pictures can be out of order."""


def is_cover(stream: Any) -> bool:
    """Whether a stream is one picture that stands for the whole."""
    return bool(stream.disposition & av.stream.Disposition.attached_pic)


def start_of(stream: Any) -> float:
    """Seconds."""
    return float(stream.start_time * stream.time_base) if stream.start_time is not None and stream.time_base else 0.0


def copy_streams(streams: Iterable[Any], out: Any, remarks: list[str]) -> dict[Any, Any]:
    """Each stream, and what it is in the new file; one that this file does not hold is left out with a remark.

    A picture that is no cover raises AudioWriteError instead.
    """
    copies, name = {}, out.format.name
    for stream in streams:
        try:
            if stream.type == "attachment" and name != "matroska":
                raise ValueError("only Matroska holds files")
            # By the decoder that is there: for many codecs there is no encoder, and none is needed.
            copy = out.add_stream_from_template(stream, opaque=True)
        except (av.error.FFmpegError, ValueError) as error:
            if stream.type == "video" and not is_cover(stream):
                raise AudioWriteError(
                    f"cannot copy the picture ({codec_name(stream)}) into {name.upper()}",
                    remedy="convert the video to MP4 or Matroska first",
                ) from error
            remarks.append(f"has {_what(stream)}, which {name.upper()} does not hold and which the video is without")
            continue
        copy.disposition = stream.disposition
        copy.metadata.update(read_metadata(stream))
        _keep_tag(stream, copy, out)
        copies[stream] = copy
    return copies


def other_data(container: Any) -> list[str]:
    """Names of tracks of data, such as the positions of a drone, which are not copied.

    The chapters of an MP4 and its timecode are such tracks too, and are written anew from what is known of them.
    """
    num_chapters = len(read_chapters(container))
    others = [
        stream
        for stream in container.streams.data
        if "timecode" not in stream.metadata and not (num_chapters and stream.frames == num_chapters)
    ]
    return [printable(read_metadata(stream).get("handler_name") or stream.name or "unknown") for stream in others]


def _what(stream: Any) -> str:
    if stream.type == "attachment":
        return f"a file ({printable(stream.metadata.get('filename', 'without a name'))})"
    kind = "a cover" if is_cover(stream) else {"audio": "a sound track", "subtitle": "subtitles"}[stream.type]
    return f"{kind} ({codec_name(stream)})"


def _keep_tag(stream: Any, copy: Any, out: Any) -> None:
    """The four letters of a codec; players know only some: hvc1 and hev1 are both HEVC, and Apple's play the first."""
    is_mov = any(name in stream.container.format.name.split(",") for name in ("mov", "mp4"))
    if is_mov and out.format.name in ("mov", "mp4") and stream.type == "video" and stream.codec_context is not None:
        copy.codec_context.codec_tag = stream.codec_context.codec_tag


def timed(packets: Iterable[Any]) -> Iterator[Any]:
    """The packets that have content, with the decoding times that Matroska does not store in front of each stream.

    Pictures that refer to later ones come before them, so that the first ones are decoded before the time 0.
    """
    waiting: dict[int, list[Any]] = {}
    last: dict[int, int] = {}
    for packet in packets:
        index = packet.stream.index
        if not packet.size:
            continue
        if packet.dts is None and index in last:
            packet.dts = last[index] + 1
        if packet.dts is None:
            held = waiting.setdefault(index, [])
            held.append(packet)
            if len(held) < _MOST_UNDATED:
                continue
            del waiting[index]
            last[index] = _date(held, None)
            yield from held
            continue
        if held := waiting.pop(index, []):
            _date(held, packet.dts)
            yield from held
        last[index] = packet.dts
        yield packet
    for held in waiting.values():
        _date(held, None)
        yield from held


def _date(packets: list[Any], following: int | None) -> int:
    """Gives packets decoding times before `following`, that of the packet behind them, and tells the last."""
    step, end = max(1, packets[0].duration or 1), following
    if end is None:
        step, end = 1, min([packet.pts for packet in packets if packet.pts is not None], default=0)
    for place, packet in enumerate(packets):
        packet.dts = end - step * (len(packets) - place)
        if packet.pts is None:
            packet.pts = packet.dts
    return end - step

"""Opens containers through PyAV, and reads their tags whatever encoding they are in."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from unbraid.audio.formats import decode_tag
from unbraid.files.protocols import Readable
from unbraid.lazy import LazyModule

if TYPE_CHECKING:
    import av
    import av.container
    import av.stream
else:
    av = LazyModule("av")

_CONTAINERS = (
    "aac,ac3,adts,aiff,amr,ape,asf,au,avi,caf,dts,dtshd,eac3,flac,flv,gsm,loas,m4a,matroska,mlp,mov,mp3,mpc,mpc8,mpeg,"
    "mpegts,mxf,nut,ogg,oma,rm,shn,tak,truehd,tta,voc,w64,wav,wv"
)
"""What libav may take the bytes for: its playlist formats would open further files and addresses named inside."""

_OPTIONS = {"format_whitelist": _CONTAINERS, "protocol_whitelist": "file"}
"""With which every file is opened."""


def open_container(file: Readable | str, options: Mapping[str, str] | None = None) -> av.container.InputContainer:
    """Opens one of the formats that are read here; `options` are FFmpeg's of the format.

    Raises what PyAV raises: FFmpegError, OSError or ValueError.
    """
    # Later versions keep bytes that are not UTF-8 by themselves, and have no such setting.
    keeping: dict[str, Any] = {"metadata_errors": "surrogateescape"} if int(av.__version__.split(".")[0]) < 19 else {}
    return av.open(file, "r", options={**_OPTIONS, **(options or {})}, **keeping)


def codec_name(stream: av.stream.Stream) -> str:
    """In FFmpeg's words; of a codec that FFmpeg here does not know, PyAV has nothing to ask."""
    return "unknown" if stream.codec_context is None else stream.codec_context.name


def read_metadata(thing: av.container.InputContainer | av.stream.Stream) -> dict[str, str]:
    """The tags of a container or of one of its streams, as text that can be written again."""
    return {_readable(name): _readable(text) for name, text in thing.metadata.items()}


def read_chapters(container: av.container.InputContainer) -> list[Any]:
    """As PyAV has them, with titles that can be written again."""
    titles = [{name: _readable(text) for name, text in held["metadata"].items()} for held in container.chapters()]
    return [{**held, "metadata": title} for held, title in zip(container.chapters(), titles, strict=True)]


def _readable(text: str) -> str:
    return decode_tag(text.encode("utf-8", "surrogateescape"))

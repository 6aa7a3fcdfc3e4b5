"""How stems are written, as one value: their format, their level, and their names."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated, Literal

from unbraid.audio.encode.stem_file import NUM_STEMS
from unbraid.audio.formats import AudioInfo, Container, Encoding, SampleFormat, container_of
from unbraid.errors import ConfigError, UnknownNameError
from unbraid.options import PositiveInt, Range, check_options
from unbraid.output.naming import FilenameTemplate

ClipMode = Literal["rescale", "clamp", "none"]
VideoSound = Literal["aac", "flac", "alac", "copy"]

TRUE_PEAK_DB = -1.0
"""What a stem of a given loudness stays below, in dB of full scale, as EBU R 128 has it."""


@dataclass(frozen=True, kw_only=True)
class OutputConfig:
    """Everything, beside the samples of the stems, that decides what files there are; what is left open follows the
    recording."""

    container: Container = "wav"

    sample: SampleFormat | None = None
    """None keeps the depth of the recording as nearly as the container can."""

    bitrate_kbps: PositiveInt = 320
    """MP3 only."""

    clip_mode: ClipMode = "rescale"
    """Where a stem of an integer or lossy format exceeds full scale, `rescale` turns all stems down by one gain, and
    `clamp` and `none` cut the peaks off."""

    loudness_lufs: Annotated[float, Range(at_least=-70.0, at_most=0.0)] | None = None
    """Integrated loudness of a remix, as far as its true peak allows; None leaves it as loud as it is."""

    filename: str = "{track}/{stem}.{ext}"
    """Names of the files below the folder of the model; see `FilenameTemplate`."""

    stems: tuple[str, ...] | None = None
    """Only these; None: all that the separator gives."""

    video: str | None = None
    """A stem that becomes the sound of the recording's picture, which is copied as it is, in a file of its own."""

    video_sound: VideoSound = "aac"
    """How the sound of that video is stored: "flac" and "alac" lose nothing of 16 and 24 bits, "copy" takes the stem as
    its own file has it."""

    video_keep_sounds: bool = False
    """The sound tracks of the recording follow the new one in the video, copied."""

    stem_file: bool = False
    """One .stem.mp4 beside the stems with the recording and four stems, as Native Instruments' and Mixxx's players read
    it."""

    def __post_init__(self) -> None:
        check_options(self)
        Encoding(container=self.container, sample=self.sample, bitrate_kbps=self.bitrate_kbps)
        FilenameTemplate(self.filename)
        named = container_of(self.filename)
        if named is not None and named != self.container:
            raise ConfigError(
                f"ends with a name of {named.upper()}, and the files are {self.container.upper()}",
                subject=f"`filename` '{self.filename}'",
                remedy="end it with {ext}, or choose that format",
            )
        if self.video is None and (self.video_sound != "aac" or self.video_keep_sounds):
            name = "video_keep_sounds" if self.video_keep_sounds else "video_sound"
            raise ConfigError("is for a video, and none is written", subject=f"`{name}`", remedy="add `video`")
        if self.stems is not None:
            if not self.stems:
                raise ConfigError("there are no stems to write", remedy="name at least one")
            object.__setattr__(self, "stems", tuple(dict.fromkeys(self.stems)))

    @property
    def template(self) -> FilenameTemplate:
        """`filename`, read and checked."""
        return FilenameTemplate(self.filename)

    def encoding_for(self, info: AudioInfo) -> Encoding:
        """The format of the stems of one recording."""
        kept = Encoding.for_input(info).within(self.container)
        return replace(kept, sample=self.sample or kept.sample, bitrate_kbps=self.bitrate_kbps)

    def choose(self, names: tuple[str, ...]) -> tuple[str, ...]:
        """The stems to write of those that a separator gives; raises UnknownNameError for one that it does not."""
        for stem in self.stems or ():
            index_of(stem, names)
        chosen = self.stems or names
        if self.video is not None and index_of(self.video, names) >= 0 and self.video not in chosen:
            raise ConfigError(
                f"'{self.video}' is not written", subject="`video`", remedy="add it to `stems`, or leave those out"
            )
        if self.stem_file and len([stem for stem in chosen if stem != "remix"]) != NUM_STEMS:
            raise ConfigError(
                f"holds {NUM_STEMS} stems, and {len(chosen)} are written",
                subject="`stem_file`",
                remedy="choose a model of four, such as htdemucs",
            )
        if self.loudness_lufs is not None and "remix" not in chosen:
            raise ConfigError(
                "is for a remix, and none is written",
                subject="`loudness_lufs`",
                remedy="add `remix=dialogue=+6` or the like",
            )
        return chosen


def index_of(stem: str, names: tuple[str, ...]) -> int:
    """The place of a stem among those of a separator."""
    if stem not in names:
        raise UnknownNameError(
            f"there is no stem '{stem}'", remedy=f"with these settings there are: {', '.join(names)}"
        )
    return names.index(stem)

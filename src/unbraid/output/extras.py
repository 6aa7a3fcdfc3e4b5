"""Files that are made of finished stems: the video with another sound, and one file with all stems."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from unbraid.audio.encode.sound_tracks import CopiedSound, Sound, check_sound
from unbraid.audio.encode.stem_file import mark_stems
from unbraid.audio.encode.video import check_picture, sound_start, video_container, write_with_sounds
from unbraid.audio.formats import AudioInfo
from unbraid.audio.reading import AudioReader, open_audio
from unbraid.audio.sources import Source
from unbraid.errors import ConfigError
from unbraid.files.pending import PendingFile, writing_to
from unbraid.output.config import OutputConfig
from unbraid.output.naming import OutputPaths
from unbraid.output.stem_files import LOSSY_PEAK, StemWriters
from unbraid.separation.config import SeparationConfig


def refuse_extras(
    source: os.PathLike[str], paths: OutputPaths, config: SeparationConfig, output: OutputConfig, info: AudioInfo
) -> None:
    """Raises before anything is separated where there is no picture, the recording is not a file, or not whole, or
    its sound does not go into such a file."""
    if not paths.extras:
        return
    if source == Path("-"):
        raise ConfigError("`video` and `stem_file` are made of files, not of standard input")
    if config.passage is not None or config.raw is not None:
        raise ConfigError(
            "`video` and `stem_file` are made of whole recordings", remedy="leave the passage or `raw` out"
        )
    encoding = output.encoding_for(info)
    if "video" in paths.extras:
        container = video_container(paths.extras["video"].suffix[1:])
        check_picture(Source(source), container)
        check_sound(output.video_sound, container, encoding, info.num_channels)
    if "stem_file" in paths.extras:
        check_sound("aac", "mp4", encoding, info.num_channels)


@dataclass(frozen=True)
class Extras:
    """The extras of a recording, whole and waiting for their names, and what there is to say of them."""

    pending: list[PendingFile] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)


@contextmanager
def made_of_stems(
    source: os.PathLike[str], paths: OutputPaths, writers: StemWriters, output: OutputConfig, *, track: str | None
) -> Iterator[Extras]:
    """Makes the files; they vanish where they do not get their names."""
    extras = Extras()
    try:
        for name, path in paths.extras.items():
            one = PendingFile(path, follow_link=False)
            extras.pending.append(one)
            with writing_to(one.name), ExitStack() as stack:
                if name == "video":
                    extras.remarks.extend(_write_video(one, Source(source), writers, output, track, stack))
                else:
                    mix = stack.enter_context(open_audio(source, allow_truncated=True, track=track))
                    _write_stem_file(one, mix, Source(source), paths, writers, output, stack)
        yield extras
    finally:
        for one in extras.pending:
            one.discard()


def _write_video(
    pending: PendingFile,
    picture: Source,
    writers: StemWriters,
    output: OutputConfig,
    track: str | None,
    stack: ExitStack,
) -> list[str]:
    stem, codec, remarks = output.video, output.video_sound, list[str]()
    assert stem is not None
    start, language = sound_start(picture, track)
    if codec == "copy":
        sound = CopiedSound(source=Source(writers.partial(stem)), title=stem, language=language)
    else:
        gain = _gain(writers, [stem], output)
        if gain < 1.0:
            remarks.append(f"has a {stem} that is turned down to {gain:.3f} in the video, so that it does not clip")
        reader = stack.enter_context(open_audio(writers.partial(stem)))
        sound = Sound(reader=reader, codec=codec, gain=gain, title=stem, language=language)
    container = video_container(pending.path.suffix[1:])
    return remarks + write_with_sounds(
        pending.file, container, [sound], picture=picture, keep_sounds=output.video_keep_sounds, start=start
    )


def _write_stem_file(
    pending: PendingFile,
    mix: AudioReader,
    covers: Source,
    paths: OutputPaths,
    writers: StemWriters,
    output: OutputConfig,
    stack: ExitStack,
) -> None:
    """The recording itself is the first track, which players that know no stems play."""
    names = [stem for stem in paths.stems if stem != "remix"]
    gain = _gain(writers, names, output)
    sounds = [Sound(reader=mix, gain=gain, title="mix")]
    for name in names:
        reader = stack.enter_context(open_audio(writers.partial(name)))
        sounds.append(Sound(reader=reader, gain=gain, title=name, is_default=False))
    write_with_sounds(pending.file, "mp4", sounds, picture=covers, covers_only=True, tags=mix.info.tags)
    mark_stems(pending.file, names)


def _gain(writers: StemWriters, stems: list[str], output: OutputConfig) -> float:
    """What keeps stems, which may be beyond full scale in their own files, from being cut off; 1 where none is."""
    peak = max(writers.peaks[stem] * writers.gain_of(stem) for stem in stems)
    return LOSSY_PEAK / peak if peak > 1.0 and output.clip_mode == "rescale" else 1.0

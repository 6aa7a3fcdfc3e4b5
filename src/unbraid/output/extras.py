"""Files that are made of finished stems: the video with another sound, and one file with all stems."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from unbraid.audio.encode.stem_file import mark_stems
from unbraid.audio.encode.video import Sound, has_picture, video_container, write_with_sounds
from unbraid.audio.reading import AudioReader, open_audio
from unbraid.audio.sources import Source
from unbraid.errors import AudioReadError, ConfigError
from unbraid.files.names import printable
from unbraid.files.pending import PendingFile, writing_to
from unbraid.output.naming import OutputPaths
from unbraid.output.stem_files import StemWriters
from unbraid.separation.config import SeparationConfig


def refuse_extras(source: os.PathLike[str], paths: OutputPaths, config: SeparationConfig) -> None:
    """Raises before anything is separated where there is no picture, or the recording is not a file, or not whole."""
    if not paths.extras:
        return
    if source == Path("-"):
        raise ConfigError("`video` and `stem_file` are made of files, not of standard input")
    if config.passage is not None or config.raw is not None:
        raise ConfigError(
            "`video` and `stem_file` are made of whole recordings", remedy="leave the passage or `raw` out"
        )
    if "video" in paths.extras and not has_picture(Source(source)):
        raise AudioReadError("has no picture", subject=f"'{printable(source)}'", remedy="leave `video` out")


@contextmanager
def made_of_stems(
    source: os.PathLike[str], paths: OutputPaths, writers: StemWriters, *, video_stem: str | None, track: str | None
) -> Iterator[list[PendingFile]]:
    """The extras of a recording, whole and waiting for their names; they vanish where they do not get them."""
    pending: list[PendingFile] = []
    try:
        for name, path in paths.extras.items():
            one = PendingFile(path, follow_link=False)
            pending.append(one)
            with writing_to(one.name), ExitStack() as stack:
                if name == "video":
                    assert video_stem is not None
                    reader = stack.enter_context(open_audio(writers.partial(video_stem)))
                    container = video_container(path.suffix[1:])
                    write_with_sounds(one.file, container, [Sound(reader=reader)], picture=Source(source))
                else:
                    mix = stack.enter_context(open_audio(source, allow_truncated=True, track=track))
                    _write_stem_file(one, mix, Source(source), paths, writers, stack)
        yield pending
    finally:
        for one in pending:
            one.discard()


def _write_stem_file(
    pending: PendingFile,
    mix: AudioReader,
    covers: Source,
    paths: OutputPaths,
    writers: StemWriters,
    stack: ExitStack,
) -> None:
    """The recording itself is the first track, which players that know no stems play."""
    names = [stem for stem in paths.stems if stem != "remix"]
    sounds = [Sound(reader=mix, title="mix")]
    for name in names:
        reader = stack.enter_context(open_audio(writers.partial(name)))
        sounds.append(Sound(reader=reader, title=name, is_default=False))
    write_with_sounds(pending.file, "mp4", sounds, picture=covers, covers_only=True, tags=mix.info.tags)
    mark_stems(pending.file, names)

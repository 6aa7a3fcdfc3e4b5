"""Renders MIDI files to stems with fluidsynth: each group of instruments alone, drums, bass and other.

What comes out are song folders (`data/layouts/songs.py`), the tree kept. Reverb and chorus are off, so that the sum of
the stems is what the whole would be, but for a transient here and there. Parts that a piece does not have are not
written.
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Generator
from functools import partial
from pathlib import Path

import numpy as np

from unbraid.audio.recording import Recording
from unbraid.data.prepare.midi_files import GROUPS, MidiFile
from unbraid.data.prepare.stem_folders import align_stems, write_stem_folder
from unbraid.data.prepare.tasks import PrepareEvent, Task, run_tasks
from unbraid.errors import AudioReadError, DataError
from unbraid.files.names import printable

SOUND_FONTS = (
    "/usr/share/sounds/sf2/FluidR3_GM.sf2",
    "/usr/share/soundfonts/FluidR3_GM.sf2",
    "/usr/share/sounds/sf3/MuseScore_General.sf3",
    "/usr/share/sounds/sf3/MuseScore_General_Lite.sf3",
    "/usr/share/soundfonts/default.sf2",
)
"""Where distributions put General MIDI sound fonts; the first that is there is taken."""


def prepare_midi(
    root: Path,
    out: Path,
    sound_font: Path | None = None,
    sample_rate: int = 44100,
    silent_stems: bool = False,
    jobs: int = 1,
) -> Generator[PrepareEvent, None, None]:
    """Renders every MIDI file below `root` into a folder below `out`; folders that are there already are left.

    With `silent_stems`, parts that a piece does not have are written as silence: known to be silent, not missing.
    """
    synthesiser = shutil.which("fluidsynth")
    if synthesiser is None:
        raise DataError(
            "fluidsynth is not installed", remedy="install it, as in  apt-get install fluidsynth fluid-soundfont-gm"
        )
    font = sound_font or next((Path(path) for path in SOUND_FONTS if Path(path).is_file()), None)
    if font is None:
        raise DataError(
            "no General MIDI sound font is found", remedy="name one as `sound_font`, or install fluid-soundfont-gm"
        )
    if not font.is_file():
        raise DataError(f"the sound font '{printable(font)}' does not exist", remedy="check its name")
    files = sorted(path for path in root.rglob("*") if path.suffix.lower() in (".mid", ".midi"))
    if not files:
        raise DataError(
            "holds no .mid files", subject=f"'{printable(root)}'", remedy="name the folder that they are in"
        )
    settings = (synthesiser, font, sample_rate, silent_stems)
    tasks = [
        Task(
            printable(path.relative_to(root)),
            partial(_render_song, path, out / path.relative_to(root).with_suffix(""), settings),
        )
        for path in files
    ]
    yield from run_tasks(tasks, jobs)


def _render_song(path: Path, folder: Path, settings: tuple[str, Path, int, bool]) -> bool:
    if folder.is_dir():
        return False
    synthesiser, font, sample_rate, silent_stems = settings
    name = f"'{printable(path)}'"
    midi = MidiFile(path.read_bytes(), name)
    groups = midi.groups()
    if not groups:
        raise DataError("holds no notes", subject=name, remedy="leave it out")
    stems: dict[str, np.ndarray] = {
        group: _render(midi.part(group), name, synthesiser, font, sample_rate) for group in groups
    }
    if silent_stems:
        stems = {group: stems.get(group, np.zeros((2, 1), np.float32)) for group in GROUPS}
    write_stem_folder(folder, align_stems(stems), sample_rate)
    return True


def _render(midi: bytes, name: str, synthesiser: str, font: Path, sample_rate: int) -> np.ndarray:
    """(channel, sample), beyond full scale where it comes out so."""
    with tempfile.TemporaryDirectory(prefix="unbraid-") as scratch:
        part, audio = Path(scratch, "part.mid"), Path(scratch, "part.wav")
        part.write_bytes(midi)
        options = ["-ni", "-q", "-R", "0", "-C", "0", "-r", str(sample_rate), "-T", "wav", "-O", "float"]
        done = subprocess.run(
            [synthesiser, *options, "-F", str(audio), str(font), str(part)], capture_output=True, text=True, check=False
        )
        # It ends with status 0 even where it could not read the sound font.
        if done.returncode or not audio.is_file() or "error" in done.stderr.lower():
            reason = " ".join(done.stderr.split())[-200:] or f"status {done.returncode}"
            raise DataError(f"fluidsynth cannot render {name} ({reason})", remedy="check the file and the sound font")
        try:
            return Recording.read(audio).samples
        except AudioReadError as error:
            raise DataError(
                f"fluidsynth made nothing of {name} ({error})", remedy="check the file and the sound font"
            ) from error

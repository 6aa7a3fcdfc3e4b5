"""Data sets: their folders, the lists and tables in them, and what training data is made from."""

from __future__ import annotations

import io
import json
import os
import shutil
import struct
import zlib
from collections.abc import Callable
from itertools import count
from pathlib import Path

import numpy as np
import soundfile

from tests.fuzz.target import Builders, Target
from unbraid.audio.discovery import discover_audio
from unbraid.data.open import open_splits
from unbraid.data.prepare.lmms_projects import LmmsProject
from unbraid.data.prepare.midi_files import MidiFile

_MOST_FILES = 40
_SOUND_SUFFIXES = (".wav", ".flac", ".mp3", ".mp4", ".ogg")


def _sound() -> bytes:
    buffer = io.BytesIO()
    soundfile.write(buffer, 0.1 * np.sin(np.arange(100)), 8000, format="WAV")
    return buffer.getvalue()


def _in_data_set(table: str, seed: bytes, sounds: tuple[str, ...]) -> Callable[[Path], Target]:
    """A data set of which that table is damaged, with the recordings that the whole one names."""

    def build(folder: Path) -> Target:
        root = folder / "set"
        for name in (table, *sounds):
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_bytes(_sound())

        def read(data: bytes) -> None:
            (root / table).write_bytes(data)
            open_splits(root)

        return Target((seed,), read)

    return build


def _list(suffix: str, seed: bytes) -> Callable[[Path], Target]:
    def build(folder: Path) -> Target:
        for name in ("a.wav", "b.wav", "c.wav"):
            (folder / name).write_bytes(_sound())
        path = folder / f"list{suffix}"

        def read(data: bytes) -> None:
            path.write_bytes(data)
            open_splits(path)

        return Target((seed,), read)

    return build


def _tree(folder: Path) -> Target:
    """A whole folder, told by the names of its files, one a line."""
    (folder / "sound").write_bytes(_sound())
    (folder / "moises").write_bytes(_MOISES)
    (folder / "manifest").write_bytes(b"path,speaker,split\na.wav,x,train\n")
    numbers = count()

    def read(data: bytes) -> None:
        # Removing is slow, so that one folder is under way at a time only.
        root = folder / f"tree{next(numbers)}"
        root.mkdir()
        try:
            for line in data.split(b"\n")[:_MOST_FILES]:
                _place(root, line)
            discover_audio([root])
            for dataset in open_splits(root):
                for item in dataset.items:
                    # As scores and pages have them.
                    "".join([item.name, *item.sources, *item.labels.values()]).encode()
        finally:
            shutil.rmtree(root)

    def _place(root: Path, line: bytes) -> None:
        parts = [part[:60] for part in line.replace(b"\0", b"").split(b"/")[:8] if part not in (b"", b".", b"..")]
        if not parts:
            return
        path = root.joinpath(*map(os.fsdecode, parts))
        content = "manifest" if path.name == "manifest.csv" else "moises" if path.suffix == ".json" else "sound"
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            os.link(folder / content, path)
        except OSError:  # a file stands where a folder is wanted, or the other way round
            return

    return Target(_TREES, read)


def _lmms(name: str, *seeds: bytes) -> Callable[[Path], Target]:
    def build(folder: Path) -> Target:
        path = folder / name

        def read(data: bytes) -> None:
            path.write_bytes(data)
            project = LmmsProject(path)
            for instrument in project.sounds:
                project.stem_of(instrument)

        return Target(seeds, read)

    return build


def read_midi(data: bytes) -> None:
    """Every part of the piece."""
    midi = MidiFile(data, "song")
    for group in midi.groups():
        midi.part(group)


def _midi() -> bytes:
    end = bytes([0, 0xFF, 0x2F, 0])
    tracks = (
        bytes([0, 0xFF, 0x51, 3, 7, 0xA1, 0x20, 0, 0xC1, 33]) + end,
        bytes([0, 0x90, 60, 100, 48, 60, 0, 0, 0xE0, 0, 64, 0, 0xF0, 2, 1, 0xF7]) + end,
        bytes([0, 0x91, 36, 100, 48, 36, 0]) + bytes([0, 0x99, 35, 90, 4, 35, 0]) + end,
    )
    return (
        b"MThd"
        + struct.pack(">IHHH", 6, 1, 3, 96)
        + b"".join(b"MTrk" + struct.pack(">I", len(track)) + track for track in tracks)
    )


_MOISES = json.dumps(
    {
        "artist": "x",
        "song": "y",
        "stems": [
            {"stemName": "vocals", "tracks": [{"id": "1", "extension": "wav"}]},
            {"stemName": "bass", "tracks": [{"id": "2", "extension": "wav"}]},
        ],
    }
).encode()
_LMMS = (
    b"<?xml version='1.0'?><!DOCTYPE lmms-project><lmms-project><song><trackcontainer>"
    b'<track type="0" name="Kick"><instrument name="x"><audiofileprocessor src="factorysample:drums/a.ogg"/>'
    b'</instrument></track><track type="0" name="Bass &amp; x"/></trackcontainer></song></lmms-project>'
)
_CORPUS = (
    b"path,speaker,sex,split,seconds,licence\nlibri/a.wav,x,f,train,1,CC\nlibri/b.wav,y,m,valid,1,CC\n",
    b"path,set,split,seconds,author,licence\nesc/1-2-A.wav,esc,valid,1,x,CC\nesc/1-3-A.wav,esc,train,1,x,CC\n",
    b"path,track,stem,split,seconds,licence,note\nx/a.wav,s,vocals,train,1,CC,\nx/b.wav,s,other,train,1,CC,\n",
)
_LENGTHS = b"mixture_ID,mixture_path,source_1_path,length\n1-2-3_4-5-6,/x/1-2-3_4-5-6.wav,/x/a.wav,100.0\n"
_STEMS = ("mixture", "vocals", "drums", "bass", "other")


def _lines(*names: str) -> bytes:
    return "\n".join(names).encode()


_TREES = (
    _lines(*(f"train/song/{stem}.wav" for stem in _STEMS), "test/b/vocals.wav", "test/b/drums.wav"),
    _lines("train/ANiMAL - Rockshow/vocals.wav", "train/ANiMAL - Rockshow/drums.wav"),
    _lines(*(f"dnr_v2/tr/1/{stem}.wav" for stem in ("mix", "speech", "music", "sfx"))),
    _lines(*(f"2speakers/wav8k/min/tr/{part}/011a_1_022b_-1.wav" for part in ("mix", "s1", "s2"))),
    _lines(*(f"wav8k/min/tr/{part}/011a_1_022b_-1.wav" for part in ("mix_both", "mix_clean", "s1", "s2", "noise"))),
    _lines(*(f"tr/{part}/a_b.wav" for part in ("mix_both_reverb", "s1_anechoic", "s2_anechoic", "noise"))),
    _lines(*(f"train-100/{part}/1-2-3_4-5-6.wav" for part in ("mix_clean", "s1", "s2")), "metadata/x.csv"),
    _lines("wsj0/si_tr_s/011/011a0101.wav", "wsj0/si_dt_05/022/022a0101.wav"),
    _lines("LibriSpeech/train-clean-100/1/2/1-2-3.flac", "LibriSpeech/dev-clean/4/5/4-5-6.flac"),
    _lines("moisesdb/1/data.json", "moisesdb/1/vocals/1.wav", "moisesdb/1/bass/2.wav"),
    _lines(
        "speech/manifest.csv", "speech/a.wav", "music/rendered1/train/s/bass.wav", "music/rendered1/train/s/other.wav"
    ),
    _lines("vocals/a.wav", "vocals/b.wav", "drums/x/c.wav", "drums/d.wav", "bass/e.mp3"),
)

BUILDERS: Builders = {
    "csv list": _list(
        ".csv", b'path,split,track,stem,start,num_samples\na.wav,train,a,vocals,0,10\n"b.wav",test,b,drums,,\n'
    ),
    "json list": _list(".jsonl", b'{"path": "a.wav", "start": 3, "speaker": null}\n\n{"path": "b.wav", "stream": 0}\n'),
    "speech manifest": _in_data_set("speech/manifest.csv", _CORPUS[0], ("speech/libri/a.wav", "speech/libri/b.wav")),
    "effects manifest": _in_data_set("manifest.csv", _CORPUS[1], ("esc/1-2-A.wav", "esc/1-3-A.wav")),
    "music manifest": _in_data_set("music/manifest.csv", _CORPUS[2], ("music/x/a.wav", "music/x/b.wav")),
    "moisesdb": _in_data_set("1/data.json", _MOISES, ("1/vocals/1.wav", "1/bass/2.wav")),
    "librimix table": _in_data_set(
        "metadata/mixture_train-100_mix_clean.csv",
        _LENGTHS,
        tuple(f"train-100/{part}/1-2-3_4-5-6.wav" for part in ("mix_clean", "s1", "s2")),
    ),
    "data folder": _tree,
    "midi": lambda _: Target((_midi(),), read_midi),
    "lmms mmp": _lmms("song.mmp", _LMMS),
    "lmms mmpz": _lmms("song.mmpz", struct.pack(">I", len(_LMMS)) + zlib.compress(_LMMS)),
}

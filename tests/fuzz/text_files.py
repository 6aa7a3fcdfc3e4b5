"""Texts that unbraid reads: JSON, scores and their journal, records, settings of the user, fixed lists of mixtures."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import soundfile
import torch

from tests.conftest import TINY
from tests.fuzz.target import Builders, Target, in_file
from unbraid.audio.discovery import discover_audio
from unbraid.cli import defaults
from unbraid.data.lists.scenes import holds_scenes, read_scenes, scenes_layout
from unbraid.data.lists.speaker_pairs import holds_noise, read_list
from unbraid.evaluation.journal import Journal, identity
from unbraid.evaluation.scores import read_scores
from unbraid.files.json_text import parse_json
from unbraid.files.leftovers import _swept, remove_leftovers
from unbraid.models.catalog import build_model
from unbraid.output.batch import run_jobs
from unbraid.output.config import OutputConfig
from unbraid.output.jobs import plan_jobs
from unbraid.output.record import ModelIdentity, is_done
from unbraid.separation.separator import Separator
from unbraid.web.preview import load_tracks, track_path
from unbraid.weights.store import save_model


def _journal(folder: Path) -> Target:
    (folder / "whole.json").write_bytes(_SCORES)
    scores = read_scores(folder / "whole.json")
    journal = Journal(folder / "journal.json", identity(scores))
    journal.begin()
    journal.append(scores.tracks[0])
    return in_file(journal.path.name, lambda _: journal.resume(), journal.path.read_bytes())(folder)


def _record(folder: Path) -> Target:
    """What lies beside stems, asked whether they are done."""
    torch.manual_seed(0)
    path = save_model(build_model("s4m-tiny-4ms", **TINY["s4m-tiny-4ms"]), folder / "model.safetensors")
    separator, model = Separator(path, device="cpu"), ModelIdentity.of(path)
    recording = folder / "in" / "a.wav"
    recording.parent.mkdir()
    soundfile.write(recording, 0.1 * np.sin(np.arange(800) / 9), 16_000)
    (job,) = plan_jobs(discover_audio([recording]).files, folder / "out", separator.stem_plan.names, model=model.name)
    for _ in run_jobs([job], separator, model):
        pass
    output = OutputConfig()

    def read(data: bytes) -> bool:
        job.paths.record.write_bytes(data)
        return is_done(job.paths, model, separator, output, recording)

    seed = job.paths.record.read_bytes()
    assert read(seed)
    return Target((seed,), read)


def _player_list(folder: Path) -> Target:
    for index in range(2):
        track_path(folder, index).write_bytes(bytes(18))
    return in_file("tracks.json", lambda path: load_tracks(path.parent), _TRACKS)(folder)


def _leftovers(folder: Path) -> Target:
    """Names of files, one a line, in a folder that is swept; none but those of processes that have ended may go."""
    place = folder / "swept"
    place.mkdir()
    mark = b"0" * 8

    def read(data: bytes) -> None:
        wanted = {line for line in data.split(b"\n")[:8] if 0 < len(line) < 200 and not {0, 47} & set(line)} - {
            b".",
            b"..",
        }
        for name in wanted:
            (place / os.fsdecode(name)).touch()
        _swept.clear()
        try:
            remove_leftovers(place)
            gone = wanted - set(os.listdir(os.fsencode(place)))
            assert all(b".partial-" in name for name in gone), gone
        finally:
            for name in os.listdir(os.fsencode(place)):
                os.unlink(os.fsencode(place) + b"/" + name)

    seed = b".a.wav.partial-%s-999999999-%s\n.b.partial-7-old\n.c.wav.partial-%s-1-before\nd.wav" % (mark, mark, mark)
    return Target((seed,), read)


def _read_scene_list(path: Path) -> None:
    if holds_scenes(path):
        scenes_layout(path)
        read_scenes(path)


def _read_speaker_list(path: Path) -> None:
    holds_noise(path)
    read_list(path)


_TRACK = {
    "name": "a",
    "seconds": 2.0,
    "labels": {"level": "x"},
    "model_seconds": 0.1,
    "most_error_at": 0.0,
    "notes": [],
    "targets": [
        {
            "name": "vocals",
            "estimate": "vocals",
            "metrics": {"SNR": 1.0, "cSDR": None},
            "frames": [{"time": 0.0, "duration": 1.0, "metrics": {"SDR": 1.0}}],
        }
    ],
}
_SCORES = json.dumps(
    {
        "format": 2,
        "estimates": {"name": "m"},
        "data": {"name": "d", "layout": "songs", "sources": ["vocals"], "exchangeable": False},
        "metrics": ["SNR"],
        "summary": {},
        "tracks": [_TRACK],
    }
).encode()
_TOML = b'[separate]\nname = "speech"\nflac = true\noverlap = 0.5\nstem = ["a", "b"]\n'
_SCENES = (
    b"scene,scene_seconds,scene_rate,scene_channels,source,item,read_from,seconds,at,gain\n"
    b"a,2.0,16000,1,dialogue,d/1,0.0,1.0,0.5,0.7\na,2.0,16000,1,music,m/1,0.25,2.0,0.0,0.3\n"
)
_SPEAKERS = (
    b"name,first,second,first_gain,second_gain,num_samples,collections,sexes,level_difference_db,overlap,noise,"
    b"noise_from,noise_at,noise_gain,noise_below_db\na,x/1.wav,y/2.wav,1.0,0.5,16000,x+y,fm,3.0,0.7,n.wav,0.0,0.1,0.2,6.0\n"
)
_TRACKS = json.dumps({"names": ["mix", "a"], "sample_rate": 8000, "num_channels": 1, "num_samples": 9}).encode()

BUILDERS: Builders = {
    "json": lambda _: Target((json.dumps({"a": [1, 2.5, None, "x"], "b": {"c": True}}).encode(),), parse_json),
    "scores": in_file("scores.json", read_scores, _SCORES),
    "journal": _journal,
    "toml": in_file("unbraid.toml", defaults._read, _TOML),
    "record": _record,
    "leftovers": _leftovers,
    "scene list": in_file("scenes.csv", _read_scene_list, _SCENES),
    "speaker list": in_file("speakers.csv", _read_speaker_list, _SPEAKERS),
    "player list": _player_list,
}

"""Every reader of bytes from anybody, with a small whole file of its kind to damage."""

from __future__ import annotations

import io
import json
import random
from collections.abc import Callable, Iterator
from pathlib import Path

import av
import numpy as np
import soundfile
import torch
from safetensors.torch import save

from tests.conftest import TINY
from tests.fuzz.web import web_readers
from unbraid.audio.reading import open_audio
from unbraid.cli import defaults
from unbraid.data.layouts.csv_list import read_rows
from unbraid.errors import UnbraidError
from unbraid.evaluation.journal import Journal, identity
from unbraid.evaluation.scores import read_scores
from unbraid.files.json_text import JsonError, parse_json
from unbraid.models.catalog import build_model
from unbraid.training.resuming import check_checkpoint
from unbraid.weights.settings import read_settings
from unbraid.weights.store import inspect_model, save_model
from unbraid.weights.tensors import read_tensors

ALLOWED = (UnbraidError, JsonError)
"""What a reader may raise, and nothing else."""

Reader = Callable[[bytes], object]

_TONE = (np.sin(np.arange(4_000) / 9) * np.linspace(0, 0.5, 4_000)).astype(np.float32)
_SOUNDFILE = {"wav": None, "w64": None, "aiff": None, "au": None, "caf": None, "flac": None, "ogg": None, "mp3": None}
_LIBAV = {"mkv": "pcm_s16le", "mp4": "aac", "ts": "aac", "aac": "aac", "avi": "pcm_s16le"}


_UNUSUAL = (b"[" * 5000, b"{" * 300, b"9" * 5000, b"NaN", b"null", b"\0\xff", b"\\ud800")
"""Too deep, too long, no number, no text; the last is half a character in JSON."""


def build_readers(folder: Path) -> dict[str, tuple[bytes, Reader]]:
    """Name of a kind of file -> a whole one, and what reads it; `folder` is for readers that want a path."""
    readers: dict[str, tuple[bytes, Reader]] = {}
    for name in _SOUNDFILE:
        buffer = io.BytesIO()
        soundfile.write(buffer, _TONE, 16_000, format=name.upper())
        readers[name] = buffer.getvalue(), _read_audio
    for name, codec in _LIBAV.items():
        readers[name] = _encoded(folder / f"seed.{name}", codec), _read_audio
    model = build_model("s4m-tiny", **TINY["s4m-tiny"])
    weights = save_model(model, folder / "seed.safetensors").read_bytes()
    readers["weights"] = weights, _of_path(folder / "m.safetensors", inspect_model)
    readers["safetensors"] = save({"a": torch.zeros(9)}), _of_path(folder / "n.safetensors", read_tensors)
    readers["pytorch"] = _saved({"a": torch.zeros(9)}), _of_path(folder / "n.pt", read_tensors)
    checkpoint = {"state_dict": {}, "optimizer_states": [], "lr_schedulers": [], "loops": {}, "global_step": 1}
    empty = torch.nn.Identity()
    readers["checkpoint"] = _saved(checkpoint), _of_path(folder / "c.ckpt", lambda path: check_checkpoint(path, empty))
    yaml = b"model: {dim: 8, heads: !!python/tuple [1, 2], rate: 1e-4}\nname: 'x'\nlist: [1, a, null]\n"
    readers["yaml"] = yaml, _of_path(folder / "s.yaml", read_settings)
    readers["json"] = json.dumps({"a": [1, 2.5, None, "x"], "b": {"c": True}}).encode(), parse_json
    readers["scores"] = _SCORES, _of_path(folder / "scores.json", read_scores)
    toml = b'[separate]\nname = "speech"\nflac = true\noverlap = 0.5\nstem = ["a", "b"]\n'
    readers["toml"] = toml, _of_path(folder / "unbraid.toml", defaults._read)
    readers["journal"] = _journal(folder)
    rows = b'path,split,track,stem,start\na/b.wav,train,a,vocals,0\n"c, d.wav",test,b,drums,\n'
    readers["csv list"] = rows, _of_path(folder / "l.csv", lambda path: list(read_rows(path)))
    lines = b'{"path": "a.wav", "start": 3, "speaker": null}\n\n{"path": "b.wav"}\n'
    readers["json list"] = lines, _of_path(folder / "l.jsonl", lambda path: list(read_rows(path)))
    return readers | web_readers(folder)


def _journal(folder: Path) -> tuple[bytes, Reader]:
    (folder / "whole.json").write_bytes(_SCORES)
    scores = read_scores(folder / "whole.json")
    journal = Journal(folder / "journal.json", identity(scores))
    journal.begin()
    journal.append(scores.tracks[0])
    return journal.path.read_bytes(), _of_path(journal.path, lambda _: journal.resume())


def damaged(seed: bytes, random_: random.Random) -> bytes:
    """The bytes with some of them changed, cut out, repeated, or with more behind."""
    data = bytearray(seed)
    for _ in range(random_.choice((1, 1, 2, 4, 16))):
        # Headers are where readers go wrong.
        end = len(data) if random_.random() < 0.3 else min(len(data), 256)
        place = random_.randrange(end or 1)
        match random_.randrange(6):
            case 0:
                data[place : place + 1] = random_.randbytes(1)
            case 1:
                data[place : place + 4] = random_.choice((b"\xff" * 4, b"\0" * 4, b"\x7f\xff\xff\xff", b"\x80\0\0\0"))
            case 2:
                del data[place : place + random_.randrange(1, 64)]
            case 3:
                data[place:place] = data[place : place + random_.randrange(1, 64)]
            case 4:
                del data[random_.randrange(len(data) or 1) :]
            case 5:
                data[place:place] = random_.choice(_UNUSUAL)
    return bytes(data)


def _read_audio(data: bytes) -> None:
    refused: list[UnbraidError] = []
    for allow_truncated in (False, True):
        try:
            with open_audio(data, allow_truncated=allow_truncated, replace_nonfinite=True) as reader:
                for count, _ in enumerate(reader.blocks(65_536)):
                    if count > 100:  # a header may promise hours of silence
                        break
        except UnbraidError as error:
            refused.append(error)
    if len(refused) == 2:
        raise refused[1]


def _of_path(path: Path, read: Callable[[Path], object]) -> Reader:
    def reader(data: bytes) -> object:
        path.write_bytes(data)
        return read(path)

    return reader


def _saved(value: object) -> bytes:
    buffer = io.BytesIO()
    torch.save(value, buffer)
    return buffer.getvalue()


def _encoded(path: Path, codec: str) -> bytes:
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=16_000)
        stream.layout = "mono"
        size = stream.codec_context.frame_size or 1024
        integer = codec == "pcm_s16le"
        samples = (_TONE * 32_767).astype(np.int16) if integer else _TONE
        for number, block in enumerate(_blocks(samples, size)):
            frame = av.AudioFrame.from_ndarray(block[None], format="s16" if integer else "fltp", layout="mono")
            frame.sample_rate, frame.pts = 16_000, number * size
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path.read_bytes()


def _blocks(samples: np.ndarray, size: int) -> Iterator[np.ndarray]:
    for start in range(0, len(samples) - size + 1, size):
        yield samples[start : start + size]


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

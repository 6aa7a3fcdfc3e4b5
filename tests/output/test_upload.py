"""Recordings and stems behind addresses."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator

import fsspec
import numpy as np
import pytest
import soundfile

from unbraid.audio.discovery import discover_audio
from unbraid.audio.reading import open_audio
from unbraid.errors import AudioReadError
from unbraid.files.remote import Url
from unbraid.models.catalog import build_model
from unbraid.output.batch import run_jobs
from unbraid.output.jobs import RecordingDone, RecordingFailed, RecordingSkipped, plan_jobs
from unbraid.output.record import ModelIdentity
from unbraid.separation.separator import Separator

STEMS = ("speaker1", "speaker2")
MODEL = ModelIdentity("tiny", "0" * 64)


@pytest.fixture(scope="module")
def separator() -> Separator:
    model = build_model("s4m-tiny", kernel_ms=8.0, num_rounds=1, depth=2, hidden_dim=16, bottleneck_dim=8)
    return Separator(model, device="cpu")


@pytest.fixture
def store() -> Iterator[fsspec.AbstractFileSystem]:
    memory = fsspec.filesystem("memory")
    memory.store.clear()
    yield memory
    memory.store.clear()


def wav(seed: int, seconds: float = 0.3) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, np.random.default_rng(seed).uniform(-0.3, 0.3, round(seconds * 8_000)), 8_000, format="WAV")
    return file.getvalue()


def ends(separator, jobs, **settings):
    events = run_jobs(jobs, separator, MODEL, **settings)
    kept = [event for event in events if isinstance(event, RecordingDone | RecordingSkipped | RecordingFailed)]
    return sorted(kept, key=lambda event: event.index)


def test_from_store_to_store_is_what_folders_give_and_resumes(separator, store, tmp_path):
    for number in range(2):
        store.pipe(f"/in/{number}.wav", wav(number))
        (tmp_path / f"{number}.wav").write_bytes(wav(number))
    local = plan_jobs(discover_audio([tmp_path]).files, tmp_path / "out", STEMS, model="tiny")
    ends(separator, local)
    far = plan_jobs(discover_audio(["memory://in"]).files, Url("memory://out"), STEMS, model="tiny")
    assert [type(event) for event in ends(separator, far)] == [RecordingDone] * 2
    for number in range(2):
        for stem in STEMS:
            path = f"tiny/{number}/{stem}.wav"
            assert store.cat(f"/out/{path}") == (tmp_path / "out" / path).read_bytes()
    assert far[0].place(far[0].paths.record) == "memory://out/tiny/0/0.unbraid.json"
    record = json.loads(store.cat("/out/tiny/0/0.unbraid.json"))
    near = json.loads((tmp_path / "out/tiny/0/0.unbraid.json").read_text())
    assert record["input"]["sha256"] == near["input"]["sha256"]
    assert [type(event) for event in ends(separator, far, resume=True)] == [RecordingSkipped] * 2
    # Written anew with the same bytes it is the same recording; with others it is not.
    store.pipe("/in/0.wav", wav(0))
    store.pipe("/in/1.wav", wav(7))
    assert [type(event) for event in ends(separator, far, resume=True)] == [RecordingSkipped, RecordingDone]
    # Stems without their record are not whole.
    store.rm("/out/tiny/0/0.unbraid.json")
    assert [type(event) for event in ends(separator, far, resume=True)] == [RecordingDone, RecordingSkipped]


def test_what_changes_behind_an_address_is_refused(store):
    store.pipe("/in/a.wav", wav(0))
    with open_audio("memory://in/a.wav") as reader:
        assert reader.info.name == "'memory://in/a.wav'"
        store.pipe("/in/a.wav", wav(1))
        with pytest.raises(AudioReadError, match="was changed or replaced while it was read"):
            reader.facts()


def test_a_store_that_fails_fails_the_recording_alone(separator, store, tmp_path, monkeypatch):
    for number in range(2):
        store.pipe(f"/in/{number}.wav", wav(number))
    jobs = plan_jobs(discover_audio(["memory://in"]).files, Url("memory://out"), STEMS, model="tiny")
    real = type(store).put_file

    def refuse(self, local, remote, *rest, **more):
        if remote.startswith("/out/tiny/0/"):
            raise PermissionError("access denied")
        return real(self, local, remote, *rest, **more)

    monkeypatch.setattr(type(store), "put_file", refuse)
    failed, done = ends(separator, jobs)
    assert isinstance(done, RecordingDone)
    assert "cannot be written (access denied)" in failed.message
    assert not store.exists("/out/tiny/0/0.unbraid.json")


def test_a_file_address_is_read_as_its_path_is(tmp_path):
    (tmp_path / "a.wav").write_bytes(wav(0))
    [file] = discover_audio([(tmp_path / "a.wav").as_uri()]).files
    assert str(file.relative) == "a.wav"
    with open_audio(file.path) as reader:
        assert reader.info.num_samples == 2400

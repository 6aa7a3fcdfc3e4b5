"""Workers in processes of their own: the same files, also when one of them is killed."""

from __future__ import annotations

import os
import signal
from pathlib import Path, PurePath

import numpy as np
import pytest
import soundfile

from unbraid.audio.discovery import AudioFile
from unbraid.errors import ConfigError
from unbraid.models.catalog import build_model
from unbraid.output.batch import run_jobs
from unbraid.output.config import OutputConfig
from unbraid.output.engines.config import EngineConfig, parse_devices
from unbraid.output.engines.dispatch import Crew, Task, WorkerLost, dispatch
from unbraid.output.engines.processes import ProcessCrew
from unbraid.output.jobs import Job, RecordingDone, RecordingFailed, RecordingStarted, plan_jobs
from unbraid.output.record import ModelIdentity
from unbraid.separation.config import SeparationConfig
from unbraid.separation.separator import Separator
from unbraid.weights.store import save_model

STEMS = ("speaker1", "speaker2")


@pytest.fixture(scope="module")
def tiny(tmp_path_factory) -> Path:
    model = build_model("s4m-tiny", kernel_ms=8.0, num_rounds=1, depth=2, hidden_dim=16, bottleneck_dim=8)
    return save_model(model, tmp_path_factory.mktemp("model") / "tiny.safetensors")


def noise_jobs(folder: Path, count: int, out: str, seconds: float = 0.5) -> list[Job]:
    files = []
    for number in range(count):
        path = folder / f"{number}.wav"
        soundfile.write(path, np.random.default_rng(number).uniform(-0.3, 0.3, round(seconds * 16_000)), 16_000)
        files.append(AudioFile(path, PurePath(path.name)))
    return plan_jobs(files, folder / out, STEMS, model="tiny")


def stems_below(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*.wav")}


def test_a_killed_worker_is_replaced_and_the_files_are_the_same(tiny, tmp_path, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    identity = ModelIdentity.of(tiny)
    config = SeparationConfig(segment_seconds=0.5)
    separator = Separator(tiny, device="cpu", config=config)
    alone = noise_jobs(tmp_path, 4, "alone", seconds=1.0)
    list(run_jobs(alone, separator, identity))
    task = Task(model=str(tiny), identity=identity, config=config, output=OutputConfig())
    crew = ProcessCrew(task, ["cpu", "cpu"], num_threads=2)
    killed: list[int] = []
    done: list[int] = []
    for event in dispatch(noise_jobs(tmp_path, 4, "apart", seconds=1.0), crew, retries=2):
        if isinstance(event, RecordingStarted) and not killed:
            killed += [process.pid for process, _ in crew._workers if process.is_alive()][:1]
            os.kill(killed[0], signal.SIGKILL)
        assert not isinstance(event, RecordingFailed), event
        done += [event.index] if isinstance(event, RecordingDone) else []
    assert sorted(done) == [0, 1, 2, 3]
    assert len(stems_below(tmp_path / "apart")) == 8
    assert stems_below(tmp_path / "apart") == stems_below(tmp_path / "alone")
    assert not [path for path in (tmp_path / "apart").rglob("*.partial*")]


def event_of(kind: type, index: int):
    """An event of which nothing but its kind and its recording matters."""
    event = object.__new__(kind)
    object.__setattr__(event, "index", index)
    return event


class FakeCrew(Crew):
    """Does every job at once, but dies of those that kill."""

    def __init__(self, killing: set[int], num_workers: int = 2) -> None:
        self.killing, self.num_workers, self.jobs_ahead = killing, num_workers, 3
        self.told: list = []
        self.held: list[list[int]] = [[] for _ in range(num_workers)]
        self.given: list[int] = []
        self.is_closed = False

    def give(self, worker, index, job):
        self.given.append(index)
        self.held[worker].append(index)

    def next(self):
        worker = next(worker for worker in range(self.num_workers) if self.held[worker])
        index = self.held[worker][0]
        if self.told[-1:] != [index]:
            self.told.append(index)
            return worker, event_of(RecordingStarted, index)
        if index in self.killing:
            self.held[worker].clear()
            self.told.append(-1)
            return worker, WorkerLost()
        self.held[worker].pop(0)
        return worker, event_of(RecordingDone, index)

    def close(self):
        self.is_closed = True


def test_what_kills_workers_is_given_up_and_takes_no_other_with_it(tmp_path):
    crew = FakeCrew({2})
    jobs = plan_jobs([AudioFile(Path(f"{n}.wav"), PurePath(f"{n}.wav")) for n in range(9)], tmp_path, STEMS, model="m")
    events = list(dispatch(jobs, crew, retries=2))
    assert sorted(event.index for event in events if isinstance(event, RecordingDone)) == [0, 1, 3, 4, 5, 6, 7, 8]
    [failed] = [event for event in events if isinstance(event, RecordingFailed)]
    assert failed.index == 2
    assert "'2.wav' could not be separated: its worker was killed or broke down 3 times" in failed.message
    assert crew.given.count(2) == 3
    assert crew.is_closed


def test_devices_are_read_as_they_are_written():
    assert parse_devices("cuda:0,cuda:1") == ("cuda:0", "cuda:1")
    assert parse_devices("cpu:2") == ("cpu", "cpu")
    assert parse_devices("cuda:1:2, cpu") == ("cuda:1", "cuda:1", "cpu")
    for text in ("gpu", "cuda:x", "", "cpu:0"):
        with pytest.raises(ConfigError, match="devices"):
            parse_devices(text)


def test_options_that_do_not_go_together():
    with pytest.raises(ConfigError, match="are for a Ray cluster"):
        EngineConfig(workers=2)
    with pytest.raises(ConfigError, match="Ray chooses the devices"):
        EngineConfig(engine="ray", devices=("cpu", "cpu"))

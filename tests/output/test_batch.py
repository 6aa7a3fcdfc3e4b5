from __future__ import annotations

from pathlib import Path, PurePath

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from unbraid.audio.discovery import AudioFile
from unbraid.errors import ConfigError
from unbraid.models.catalog import build_model
from unbraid.output.batch import run_jobs
from unbraid.output.config import OutputConfig
from unbraid.output.jobs import (
    BatchEvent,
    RecordingDone,
    RecordingFailed,
    RecordingSkipped,
    RecordingStarted,
    plan_jobs,
    shard,
)
from unbraid.output.record import ModelIdentity
from unbraid.separation.inference import model_calls
from unbraid.separation.separator import Separator

STEMS = ("speaker1", "speaker2")
MODEL = ModelIdentity("tiny", "0" * 64)


@pytest.fixture(scope="module")
def separator() -> Separator:
    model = build_model("s4m-tiny", kernel_ms=8.0, num_rounds=1, depth=2, hidden_dim=16, bottleneck_dim=8)
    return Separator(model, device="cpu")


def found(*names: str) -> list[AudioFile]:
    return [AudioFile(Path(name), PurePath(name)) for name in names]


def tracks(*names: str) -> list[str]:
    return [job.paths.track for job in plan_jobs(found(*names), Path("out"), STEMS, model="m")]


def test_names_are_made_different():
    assert tracks("a.wav", "a.mp3", "b.wav", "a.wav", "A.FLAC", "sub/a.wav") == [
        "a",
        "a (mp3)",
        "b",
        "a (wav)",
        "A (FLAC)",
        "a",
    ]
    assert tracks("a.wav", "a.mp3", "a (mp3).wav", "a.mp3") == ["a", "a (mp3)", "a (mp3) (wav)", "a (2)"]
    assert tracks("é.wav", "e\u0301.wav") == ["é", "e\u0301 (wav)"]


@given(st.lists(st.text(st.sampled_from("ab/\\é日."), min_size=1, max_size=90), max_size=8))
def test_no_two_recordings_share_a_file(names):
    files = [AudioFile(Path(f"{name}x.wav"), PurePath(f"{name.replace('/', '')}x.wav")) for name in names]
    jobs = plan_jobs(files, Path("out"), STEMS, model="m")
    every = [str(path) for job in jobs for path in (*job.paths.stems.values(), job.paths.record)]
    assert len({path.casefold() for path in every}) == 3 * len(names)


def test_a_template_must_tell_recordings_apart():
    output = OutputConfig(filename="{stem}")
    assert len(plan_jobs(found("x/a.wav", "y/b.wav"), Path("out"), STEMS, model="m", output=output)) == 2
    with pytest.raises(ConfigError, match=r"put \{track\} into it"):
        plan_jobs(found("a.wav", "b.wav"), Path("out"), STEMS, model="m", output=output)
    with pytest.raises(ConfigError, match=r"put \{stem\} into it"):
        plan_jobs(found("a.wav"), Path("out"), STEMS, model="m", output=OutputConfig(filename="{track}"))


def test_shards():
    jobs = plan_jobs(found(*(f"{number}.wav" for number in range(7))), Path("out"), STEMS, model="m")
    parts = [shard(jobs, index, 3) for index in (1, 2, 3)]
    assert sorted(job.name for part in parts for job in part) == sorted(job.name for job in jobs)
    assert {len(part) for part in parts} == {2, 3}
    for index in (0, 4):
        with pytest.raises(ConfigError, match="shards go from 1/3 to 3/3"):
            shard(jobs, index, 3)


def test_an_error_stops_nothing_and_resume_skips(separator, tmp_path):
    for name in ("a", "c"):
        soundfile.write(tmp_path / f"{name}.wav", np.zeros(800), 8_000)
    (tmp_path / "b.wav").write_text("not audio")
    files = [AudioFile(tmp_path / f"{name}.wav", PurePath(f"{name}.wav")) for name in "abc"]
    jobs = plan_jobs(files, tmp_path / "out", STEMS, model="tiny")
    ends = outcomes(run_jobs(jobs, separator, MODEL))
    assert [type(event) for event in ends] == [RecordingDone, RecordingFailed, RecordingDone]
    failure = ends[1]
    assert isinstance(failure, RecordingFailed)
    assert not failure.is_defect
    assert "b.wav' holds text" in failure.message
    again = [type(event) for event in outcomes(run_jobs(jobs, separator, MODEL, resume=True))]
    assert again == [RecordingSkipped, RecordingFailed, RecordingSkipped]


def outcomes(events) -> list[BatchEvent]:
    """What became of each recording, in the order of the jobs."""
    ends = [event for event in events if isinstance(event, RecordingDone | RecordingSkipped | RecordingFailed)]
    return sorted(ends, key=lambda event: event.index)


def test_recordings_side_by_side_are_separated_as_they_are_alone(separator, tmp_path):
    jobs = noise_jobs(tmp_path, [0.3, 1.9, 0.7, 0.2, 1.1])
    for folder, lanes in (("alone", 1), ("together", 4)):
        ends = outcomes(run_jobs(placed(jobs, tmp_path / folder), separator, MODEL, lanes=lanes))
        assert all(isinstance(event, RecordingDone) for event in ends)
    for path in sorted((tmp_path / "alone").rglob("*.wav")):
        assert path.read_bytes() == (tmp_path / "together" / path.relative_to(tmp_path / "alone")).read_bytes()


def test_chunks_of_several_recordings_share_a_call(tmp_path, monkeypatch):
    model = build_model("s4m-tiny", kernel_ms=8.0, num_rounds=1, depth=2, hidden_dim=16, bottleneck_dim=8)
    alone = Separator(model, device="cpu")
    together = Separator(model, device="cpu", batch_size=4)
    sizes: list[int] = []
    real = model_calls.call_model

    def count(model, device, rows, *others):
        sizes.append(rows.shape[0])
        return real(model, device, rows, *others)

    monkeypatch.setattr(model_calls, "call_model", count)
    jobs = noise_jobs(tmp_path, [0.5] * 8)
    for separator, folder in ((alone, "alone"), (together, "together")):
        assert len(outcomes(run_jobs(placed(jobs, tmp_path / folder), separator, MODEL))) == 8
    assert sizes[:8] == [1] * 8
    assert sum(sizes[8:]) == 8
    assert 1 < max(sizes[8:]) <= 4
    for path in sorted((tmp_path / "alone").rglob("*.wav")):
        same = soundfile.read(tmp_path / "together" / path.relative_to(tmp_path / "alone"))[0]
        np.testing.assert_allclose(soundfile.read(path)[0], same, atol=1e-4)


def test_a_model_that_fails_fails_every_recording_and_ends(separator, tmp_path, monkeypatch):
    def fail(*_):
        raise RuntimeError("no such kernel")

    monkeypatch.setattr(model_calls, "call_model", fail)
    ends = outcomes(run_jobs(placed(noise_jobs(tmp_path, [0.2] * 4), tmp_path / "out"), separator, MODEL))
    assert [event.is_defect for event in ends] == [True] * 4
    assert not (tmp_path / "out").exists()


def noise_jobs(folder: Path, seconds: list[float]) -> list[AudioFile]:
    rng = np.random.default_rng(0)
    files = []
    for number, length in enumerate(seconds):
        soundfile.write(folder / f"{number}.wav", rng.uniform(-0.3, 0.3, round(length * 8_000)), 8_000)
        files.append(AudioFile(folder / f"{number}.wav", PurePath(f"{number}.wav")))
    return files


def placed(files: list[AudioFile], out: Path):
    return plan_jobs(files, out, STEMS, model="tiny")


def test_closing_removes_what_was_written_of_the_current_recording(separator, tmp_path):
    # Noise: silence needs no model, so the recording could be done before it is closed.
    events = run_jobs(placed(noise_jobs(tmp_path, [0.1]), tmp_path / "out"), separator, MODEL)
    assert isinstance(next(events), RecordingStarted)
    assert (tmp_path / "out").exists()
    events.close()
    assert not (tmp_path / "out").exists()


def test_interruptions_are_not_caught(separator, tmp_path, monkeypatch):
    soundfile.write(tmp_path / "a.wav", np.full(800, 0.1), 8_000)
    jobs = plan_jobs([AudioFile(tmp_path / "a.wav", PurePath("a.wav"))], tmp_path / "out", STEMS, model="tiny")

    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(model_calls, "call_model", interrupt)
    with pytest.raises(KeyboardInterrupt):
        list(run_jobs(jobs, separator, MODEL))
    assert not (tmp_path / "out").exists()

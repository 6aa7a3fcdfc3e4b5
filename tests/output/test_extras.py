"""The video with another sound, and one file of all stems, beside the stems of a recording."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import PurePath

import av
import numpy as np
import pytest
import soundfile

from tests.audio.test_covers import PNG, TAGS, write
from tests.audio.test_video_out import RATE, pictures, write_film
from tests.conftest import TINY
from unbraid.audio.discovery import AudioFile
from unbraid.audio.reading import open_audio
from unbraid.errors import ConfigError
from unbraid.models.catalog import build_model
from unbraid.output.batch import run_jobs
from unbraid.output.config import OutputConfig
from unbraid.output.jobs import RecordingDone, RecordingFailed, RecordingSkipped, plan_jobs
from unbraid.output.record import ModelIdentity
from unbraid.separation.events import Block
from unbraid.separation.separator import Separator

MODEL = ModelIdentity("tiny", "0" * 64)


@pytest.fixture(scope="module")
def separator() -> Separator:
    return Separator(build_model("sfc-ca-small", **TINY["sfc-ca-small"]), device="cpu")


def last(separator, jobs, output, **settings):
    *_, end = run_jobs(jobs, separator, MODEL, output, **settings)
    return end


def test_a_film_with_one_stem_and_all_stems_in_one_file(separator, tmp_path):
    write_film(tmp_path / "film.mp4")
    output = OutputConfig(video="vocals", stem_file=True)
    stems = output.choose(separator.stem_plan.names)
    [job] = jobs = plan_jobs(
        [AudioFile(tmp_path / "film.mp4", PurePath("film.mp4"))], tmp_path / "out", stems, model="tiny", output=output
    )
    end = last(separator, jobs, output)
    assert isinstance(end, RecordingDone), end
    folder = tmp_path / "out" / "tiny" / "film"
    assert {path.name for path in folder.iterdir()} == {
        *(f"{stem}.wav" for stem in stems),
        "vocals.mp4",
        "film.stem.mp4",
        "film.unbraid.json",
    }
    made = [content for _, content in pictures(folder / "vocals.mp4")]
    assert made == [content for _, content in pictures(tmp_path / "film.mp4")]
    with av.open(str(folder / "film.stem.mp4")) as held:
        assert len(held.streams.audio) == 5
        assert held.metadata["title"] == "A film"
    record = json.loads(job.paths.record.read_text())
    assert record["extras"] == {"video": "vocals.mp4", "stem_file": "film.stem.mp4"}
    assert isinstance(last(separator, jobs, output, resume=True), RecordingSkipped)
    (folder / "vocals.mp4").unlink()
    assert isinstance(last(separator, jobs, output, resume=True), RecordingDone)


def test_a_stem_beyond_full_scale_is_turned_down_in_the_video_only(separator, tmp_path, monkeypatch):
    write_film(tmp_path / "film.mp4")
    stream = separator.stream

    def loud(*arguments, **settings):
        for event in stream(*arguments, **settings):
            yield replace(event, samples=event.samples * 0 + 2.0) if isinstance(event, Block) else event

    monkeypatch.setattr(Separator, "stream", lambda self, *arguments, **settings: loud(*arguments, **settings))
    output = OutputConfig(video="vocals", video_sound="alac", stems=("vocals",), sample="float32")
    files = [AudioFile(tmp_path / "film.mp4", PurePath("film.mp4"))]
    end = last(separator, plan_jobs(files, tmp_path / "out", ("vocals",), model="tiny", output=output), output)
    assert isinstance(end, RecordingDone), end
    assert (
        end.exported.remarks[-1] == "has a vocals that is turned down to 0.494 in the video, so that it does not clip"
    )
    folder = tmp_path / "out" / "tiny" / "film"
    assert soundfile.read(folder / "vocals.wav")[0].max() == 2.0
    with open_audio(folder / "vocals.mp4") as reader:
        heard = np.concatenate(list(reader.blocks(4000)), axis=1)
    assert heard.max() == pytest.approx(0.989, abs=1e-3)


@pytest.mark.parametrize("container", ["wav", "flac", "mp3"])
def test_stems_have_the_cover_of_their_recording(separator, tmp_path, container):
    write(tmp_path / "song.mp3", PNG)
    output = OutputConfig(container=container, stems=("vocals", "other"))
    files = [AudioFile(tmp_path / "song.mp3", PurePath("song.mp3"))]
    end = last(separator, plan_jobs(files, tmp_path / "out", output.stems, model="tiny", output=output), output)
    assert isinstance(end, RecordingDone), end
    for path in end.exported.paths.stems.values():
        with open_audio(path) as reader:
            assert reader.cover() == PNG
            assert dict(reader.info.tags) == TAGS


def test_without_a_picture_it_is_said_before_anything_is_made(separator, tmp_path):
    soundfile.write(tmp_path / "talk.wav", np.zeros(RATE), RATE)
    output = OutputConfig(video="vocals")
    stems = output.choose(separator.stem_plan.names)
    files = [AudioFile(tmp_path / "talk.wav", PurePath("talk.wav"))]
    end = last(separator, plan_jobs(files, tmp_path / "out", stems, model="tiny", output=output), output)
    assert isinstance(end, RecordingFailed)
    assert "has no picture: leave `video` out" in end.message
    assert not (tmp_path / "out").exists()


def test_what_cannot_be_made_is_refused_early():
    four = ("vocals", "drums", "bass", "other")
    with pytest.raises(ConfigError, match="'drums' is not written"):
        OutputConfig(stems=("vocals",), video="drums").choose(four)
    with pytest.raises(ConfigError, match="holds 4 stems, and 2 are written"):
        OutputConfig(stem_file=True).choose(("speaker1", "speaker2"))
    with pytest.raises(ConfigError, match="is for a video, and none is written: add `video`"):
        OutputConfig(video_sound="flac")

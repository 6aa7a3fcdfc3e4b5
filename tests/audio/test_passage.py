"""A passage of a recording: its samples and no others, and only those are decoded."""

import numpy as np
import pytest
import soundfile

from unbraid.audio.decode.libsndfile import SoundfileDecoder
from unbraid.audio.passage import Passage
from unbraid.audio.reading import open_audio
from unbraid.errors import AudioReadError

RATE = 8000


def read(source, **settings):
    with open_audio(source, passage=Passage(**settings)) as reader:
        return np.concatenate(list(reader.blocks(1000)), axis=1), reader.info


@pytest.fixture(params=["wav", "flac", "ogg", "mp3"])
def recording(request, tmp_path):
    """Its path, and its samples as they are read whole."""
    path = tmp_path / f"talk.{request.param}"
    soundfile.write(path, np.random.default_rng(0).uniform(-0.3, 0.3, (5 * RATE, 2)), RATE)
    with open_audio(path) as reader:
        return path, np.concatenate(list(reader.blocks(RATE)), axis=1)


@pytest.mark.parametrize("settings", [(0.0, 1.0), (1.25, 2.0), (2.0, None), (4.5, 9.0)])
def test_it_has_the_samples_of_the_whole_there(recording, settings):
    path, whole = recording
    start, duration = settings
    first = round(start * RATE)
    expected = whole[:, first : None if duration is None else first + round(duration * RATE)]
    samples, info = read(path, start_seconds=start, duration_seconds=duration)
    assert np.array_equal(samples, expected)
    assert info.start_sample == first
    with open_audio(path, passage=Passage(start_seconds=start, duration_seconds=duration)) as reader:
        again = reader.reopen()
        assert np.array_equal(np.concatenate(list(again.blocks(777)), axis=1), expected)
        again.close()


def test_a_preview_is_from_the_middle(tmp_path):
    soundfile.write(tmp_path / "a.wav", np.arange(5 * RATE) / (8 * RATE), RATE, "FLOAT")
    samples, info = read(tmp_path / "a.wav", duration_seconds=1.0, from_middle=True)
    assert info.start_sample == 2 * RATE
    assert samples[0, 0] == pytest.approx(0.25)
    assert read(tmp_path / "a.wav", duration_seconds=60.0, from_middle=True)[0].shape == (1, 5 * RATE)


def test_what_lies_before_is_not_decoded(tmp_path, monkeypatch):
    soundfile.write(tmp_path / "a.wav", np.zeros(200 * RATE), RATE)
    decoded = []
    chunks = SoundfileDecoder.chunks

    def counted(self):
        for chunk in chunks(self):
            decoded.append(chunk.shape[1])
            yield chunk

    monkeypatch.setattr(SoundfileDecoder, "chunks", counted)
    read(tmp_path / "a.wav", start_seconds=100.0, duration_seconds=1.0)
    assert sum(decoded) <= 65_536


def test_a_passage_behind_the_end_is_refused(recording):
    with pytest.raises(AudioReadError, match=r"is 5\.\d s long, and the passage begins at 7\.0 s"):
        read(recording[0], start_seconds=7.0)

"""Pictures that are copied with other sound, and files of stems."""

from __future__ import annotations

import io
import json
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile

from unbraid.audio.encode.stem_file import mark_stems
from unbraid.audio.encode.video import Sound, has_picture, video_container, write_with_sounds
from unbraid.audio.reading import open_audio
from unbraid.audio.sources import Source
from unbraid.errors import AudioReadError, AudioWriteError

RATE = 16_000


def write_film(path: Path, seconds: float = 1.0, sound_at: float = 0.0) -> None:
    """25 pictures a second, and a tone."""
    with av.open(str(path), "w") as out:
        video = out.add_stream("mpeg4", rate=25)
        video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
        audio = out.add_stream("aac", rate=RATE, layout="mono")
        out.metadata["title"] = "A film"
        for number in range(round(25 * seconds)):
            frame = av.VideoFrame.from_ndarray(np.full((48, 64, 3), 8 * number % 256, np.uint8), "rgb24")
            frame.pts, frame.time_base = number, Fraction(1, 25)
            out.mux(video.encode(frame))
        out.mux(video.encode(None))
        frame = av.AudioFrame.from_ndarray(tone(seconds)[None].astype(np.float32), "fltp", "mono")
        frame.sample_rate, frame.pts, frame.time_base = RATE, round(sound_at * RATE), Fraction(1, RATE)
        out.mux(audio.encode(frame))
        out.mux(audio.encode(None))


def tone(seconds: float, hz: float = 440.0) -> np.ndarray:
    return 0.5 * np.sin(2 * np.pi * hz * np.arange(round(seconds * RATE)) / RATE)


def pictures(path: Path | io.BytesIO) -> list[tuple[float, bytes]]:
    with av.open(path if isinstance(path, io.BytesIO) else str(path)) as film:
        return [
            (float(packet.pts * packet.time_base), bytes(packet))
            for packet in film.demux(film.streams.video[0])
            if packet.pts is not None
        ]


@pytest.mark.parametrize("extension", ["mp4", "mkv"])
def test_the_picture_is_the_same_and_the_sound_another(tmp_path, extension):
    film = tmp_path / f"film.{extension}"
    write_film(film)
    other = tone(1.0, hz=880.0)
    soundfile.write(tmp_path / "stem.wav", other, RATE)
    assert has_picture(Source(film))
    made = tmp_path / f"made.{extension}"
    with open_audio(tmp_path / "stem.wav") as reader, made.open("w+b") as file:
        container = video_container(extension)
        write_with_sounds(file, container, [Sound(reader=reader)], picture=Source(film))
    assert [content for _, content in pictures(made)] == [content for _, content in pictures(film)]
    np.testing.assert_allclose([at for at, _ in pictures(made)], [at for at, _ in pictures(film)], atol=0.002)
    with open_audio(made) as reader:
        assert reader.info.tags["title"] == "A film"
        heard = np.concatenate(list(reader.blocks(4000)), axis=1)[0]
    length = min(len(heard), len(other))
    assert abs(len(heard) - len(other)) <= 1024
    # AAC is not exact, but neither late nor soft.
    assert np.corrcoef(heard[:length], other[:length])[0, 1] > 0.99
    assert np.abs(heard).max() == pytest.approx(0.5, abs=0.1)


def test_what_is_no_film_is_said(tmp_path):
    soundfile.write(tmp_path / "a.wav", tone(0.1), RATE)
    assert not has_picture(Source(tmp_path / "a.wav"))
    (tmp_path / "text.mp4").write_bytes(b"no film")
    with pytest.raises(AudioReadError, match="has no picture that can be read"):
        has_picture(Source(tmp_path / "text.mp4"))
    soundfile.write(tmp_path / "quad.wav", np.zeros((100, 4)), RATE)
    with open_audio(tmp_path / "quad.wav") as reader, pytest.raises(AudioWriteError, match="1, 2 or 6 channels"):
        write_with_sounds(io.BytesIO(), "mp4", [Sound(reader=reader)], picture=None)


def test_a_file_of_stems_has_five_tracks_and_the_mark(tmp_path):
    names = ["mix", "drums", "bass", "other", "vocals"]
    for number, name in enumerate(names):
        samples = np.stack([tone(0.5, 200.0 * (number + 1))] * 2, axis=1)
        soundfile.write(tmp_path / f"{name}.wav", samples, 44_100)
    file = io.BytesIO()
    readers = [open_audio(tmp_path / f"{name}.wav") for name in names]
    sounds = [
        Sound(reader=reader, title=name, is_default=name == "mix") for reader, name in zip(readers, names, strict=True)
    ]
    write_with_sounds(file, "mp4", sounds, picture=None, tags={"title": "A song"})
    mark_stems(file, names[1:])
    data = file.getvalue()
    start = data.index(b'stem{"')
    size = int.from_bytes(data[start - 4 : start])
    told = json.loads(data[start + 4 : start - 4 + size])
    assert [stem["name"] for stem in told["stems"]] == names[1:]
    assert told["version"] == 1
    with av.open(io.BytesIO(data)) as made:
        assert len(made.streams.audio) == 5
        assert made.metadata["title"] == "A song"
        default = av.stream.Disposition.default
        assert [bool(stream.disposition & default) for stream in made.streams.audio] == [True] + [False] * 4
    with open_audio(data, track="5") as reader:
        heard = np.concatenate(list(reader.blocks(4000)), axis=1)[0]
    spectrum = np.abs(np.fft.rfft(heard[1000:7000]))
    assert np.argmax(spectrum) * 44_100 / 6000 == pytest.approx(1000.0 * 44_100 / RATE, abs=10)

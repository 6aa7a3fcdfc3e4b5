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

from unbraid.audio.encode.sound_tracks import CopiedSound, Sound, check_sound
from unbraid.audio.encode.stem_file import mark_stems
from unbraid.audio.encode.video import check_picture, sound_start, video_container, write_with_sounds
from unbraid.audio.formats import Encoding
from unbraid.audio.reading import open_audio
from unbraid.audio.sources import Source
from unbraid.errors import AudioReadError, AudioWriteError

RATE = 16_000


def write_film(
    path: Path,
    seconds: float = 1.0,
    sound_at: float = 0.0,
    *,
    picture_at: float = 0.0,
    options: dict[str, str] | None = None,
    codec: str = "mpeg4",
    tag: str | None = None,
    is_full: bool = False,
) -> None:
    """25 pictures a second, some of which refer to later ones, and a tone.

    With `is_full`, two tones, subtitles, chapters and, in Matroska, a font.
    """
    with av.open(str(path), "w", container_options=options or {}) as out:
        video = out.add_stream(codec, rate=25, options={"bf": "2"})
        video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
        if tag is not None:
            video.codec_context.codec_tag = tag
        sounds = [out.add_stream("aac", rate=RATE, layout="mono") for _ in range(2 if is_full else 1)]
        out.metadata["title"] = "A film"
        out.metadata["com.apple.quicktime.make"] = "A telephone"
        words = None
        if is_full:
            for sound, language in zip(sounds, ("deu", "eng"), strict=True):
                sound.metadata["language"] = language
            words = out.add_mux_stream("mov_text" if path.suffix == ".mp4" else "subrip")
            words.metadata["language"] = "fra"
            times = {"time_base": Fraction(1, 1000)}
            out.set_chapters(
                [
                    {"id": 1, "start": 0, "end": 500, "metadata": {"title": "One"}, **times},
                    {"id": 2, "start": 500, "end": 1000, "metadata": {"title": "Two"}, **times},
                ]
            )
            if path.suffix == ".mkv":
                out.add_attachment("font.ttf", "application/x-truetype-font", b"a font")
        for number in range(round(25 * seconds)):
            frame = av.VideoFrame.from_ndarray(np.full((48, 64, 3), 8 * number % 256, np.uint8), "rgb24")
            frame.pts, frame.time_base = number + round(25 * picture_at), Fraction(1, 25)
            out.mux(video.encode(frame))
        out.mux(video.encode(None))
        for sound in sounds:
            frame = av.AudioFrame.from_ndarray(tone(seconds)[None].astype(np.float32), "fltp", "mono")
            frame.sample_rate, frame.pts, frame.time_base = RATE, round(sound_at * RATE), Fraction(1, RATE)
            out.mux(sound.encode(frame))
            out.mux(sound.encode(None))
        if words is not None:
            packet = av.Packet(b"\x00\x05Hello" if path.suffix == ".mp4" else b"Hello")
            packet.stream, packet.time_base = words, Fraction(1, 1000)
            packet.pts, packet.dts, packet.duration = 100, 100, 500
            out.mux(packet)


def tone(seconds: float, hz: float = 440.0) -> np.ndarray:
    return 0.5 * np.sin(2 * np.pi * hz * np.arange(round(seconds * RATE)) / RATE)


def pictures(path: Path | io.BytesIO) -> list[tuple[float, bytes]]:
    with av.open(path if isinstance(path, io.BytesIO) else str(path)) as film:
        return [
            (float(packet.pts * packet.time_base), bytes(packet))
            for packet in film.demux(film.streams.video[0])
            if packet.pts is not None
        ]


@pytest.mark.parametrize("extension", ["mp4", "mkv", "mov", "avi"])
def test_the_picture_is_the_same_and_the_sound_another(tmp_path, extension):
    film = tmp_path / f"film.{extension}"
    write_film(film)
    other = tone(1.0, hz=880.0)
    made = with_sound(film, other)
    assert [content for _, content in pictures(made)] == [content for _, content in pictures(film)]
    with av.open(str(made)) as shown:
        frames = list(shown.decode(video=0))
    assert len(frames) == 25
    times = np.array([frame.time for frame in frames])
    # AVI has no times at which pictures are shown, so that the first ones wait for those that refer to later ones.
    np.testing.assert_allclose(times - times[0], np.arange(25) / 25, atol=0.002)
    assert times[0] == pytest.approx(0.08 if extension == "avi" else 0.0, abs=0.002)
    with open_audio(made) as reader:
        assert reader.info.tags["title"] == "A film"
        heard = np.concatenate(list(reader.blocks(4000)), axis=1)[0]
    length = min(len(heard), len(other))
    assert abs(len(heard) - len(other)) <= 1024
    # AAC is not exact, but neither late nor soft.
    assert np.corrcoef(heard[:length], other[:length])[0, 1] > 0.99
    assert np.abs(heard).max() == pytest.approx(0.5, abs=0.1)


def with_sound(film: Path, samples: np.ndarray, codec="aac", subtype="PCM_16", **settings) -> Path:
    """The film with a sound of one channel; `codec` "copy" takes the file of that sound."""
    stem = film.with_name("stem.wav")
    soundfile.write(stem, samples, RATE, subtype)
    container = video_container(film.suffix[1:])
    made = film.with_name(f"made.{container}")
    start, language = sound_start(Source(film), None)
    with open_audio(stem) as reader, made.open("w+b") as file:
        sound = (
            CopiedSound(source=Source(stem), language=language)
            if codec == "copy"
            else Sound(reader=reader, codec=codec, language=language)
        )
        assert write_with_sounds(file, container, [sound], picture=Source(film), start=start, **settings) == []
    return made


@pytest.mark.parametrize(
    ("extension", "codec", "subtype"),
    [
        ("mp4", "flac", "PCM_16"),
        ("mp4", "alac", "PCM_24"),
        ("mkv", "flac", "PCM_24"),
        ("mov", "alac", "PCM_16"),
        ("mp4", "copy", "FLOAT"),
        ("mov", "copy", "PCM_24"),
        ("mkv", "copy", "FLOAT"),
    ],
)
def test_sound_without_loss_is_the_stem_to_the_bit(tmp_path, extension, codec, subtype):
    film = tmp_path / f"film.{extension}"
    write_film(film)
    made = with_sound(film, tone(1.0, hz=880.0), codec, subtype)
    expected, _ = soundfile.read(tmp_path / "stem.wav", dtype="float32")
    with open_audio(made) as reader:
        depth = {"PCM_16": "int16", "PCM_24": "int24", "FLOAT": "float32"}[subtype]
        assert reader.info.encoding.sample == depth
        heard = np.concatenate(list(reader.blocks(4000)), axis=1)[0]
    np.testing.assert_array_equal(heard, expected)


def test_sound_is_turned_down_and_never_wraps(tmp_path):
    soundfile.write(tmp_path / "stem.wav", 3 * tone(1.0), RATE, "FLOAT")
    for gain, highest in ((1.0, 1.0), (1 / 3, 0.5)):
        file = io.BytesIO()
        with open_audio(tmp_path / "stem.wav") as reader:
            write_with_sounds(file, "mp4", [Sound(reader=reader, codec="alac", gain=gain)], picture=None)
        with open_audio(file.getvalue()) as reader:
            heard = np.concatenate(list(reader.blocks(4000)), axis=1)[0]
        assert np.abs(heard).max() == pytest.approx(highest, abs=1e-3)
        assert np.corrcoef(heard, tone(1.0))[0, 1] > 0.9


def test_an_mp3_stem_is_copied_where_its_sound_belongs(tmp_path):
    film, stem = tmp_path / "film.mp4", tmp_path / "stem.mp3"
    write_film(film, sound_at=0.4)
    click = np.zeros(RATE)
    click[8000:8080] = 0.5
    soundfile.write(stem, click, RATE)
    made = io.BytesIO()
    sound = CopiedSound(source=Source(stem))
    assert write_with_sounds(made, "mp4", [sound], picture=Source(film), start=sound_start(Source(film), None)[0]) == []
    with av.open(io.BytesIO(made.getvalue())) as first, av.open(str(stem)) as second:
        copied = [bytes(packet) for packet in first.demux(audio=0)]
        assert copied == [bytes(packet) for packet in second.demux(audio=0)]
    with open_audio(made.getvalue()) as reader:
        heard = np.concatenate(list(reader.blocks(4000)), axis=1)[0]
    assert np.abs(heard).argmax() == pytest.approx(8040, abs=120)


@pytest.mark.parametrize("extension", ["mp4", "mkv"])
def test_what_else_is_in_a_video_stays(tmp_path, extension):
    film = tmp_path / f"film.{extension}"
    write_film(film, is_full=True)
    made = with_sound(film, tone(1.0, hz=880.0), keep_sounds=True)
    with av.open(str(made)) as held, av.open(str(film)) as before:
        assert [stream.metadata["language"] for stream in held.streams.audio] == ["deu", "deu", "eng"]
        default = av.stream.Disposition.default
        assert [bool(stream.disposition & default) for stream in held.streams.audio] == [True, False, False]
        [words] = held.streams.subtitles
        assert words.metadata["language"] == "fra"
        assert any(b"Hello" in bytes(packet) for packet in held.demux(words))
        assert [chapter["metadata"]["title"] for chapter in held.chapters()] == ["One", "Two"]
        assert [float(chapter["start"] * chapter["time_base"]) for chapter in held.chapters()] == [0.0, 0.5]
        fonts = [bytes(stream.data) for stream in held.streams.attachments]
        assert fonts == [bytes(stream.data) for stream in before.streams.attachments]
        assert fonts == ([b"a font"] if extension == "mkv" else [])
    tracks = {}
    for path, number in ((film, 0), (made, 1)):
        with av.open(str(path)) as held:
            tracks[path] = [bytes(packet) for packet in held.demux(audio=number) if packet.size]
    assert tracks[film] == tracks[made]
    alone = with_sound(film, tone(1.0, hz=880.0))
    with av.open(str(alone)) as held:
        assert len(held.streams.audio) == 1


def test_what_a_container_does_not_hold_is_told(tmp_path):
    """Called .mp4 and Matroska inside, whose subtitles MP4 does not hold."""
    write_film(tmp_path / "film.mkv", is_full=True)
    with open_audio(tmp_path / "film.mkv") as reader:
        remarks = write_with_sounds(io.BytesIO(), "mp4", [Sound(reader=reader)], picture=Source(tmp_path / "film.mkv"))
    assert remarks == [
        "has subtitles (srt), which MP4 does not hold and which the video is without",
        "has a file (font.ttf), which MP4 does not hold and which the video is without",
    ]


def test_data_that_is_not_copied_is_told_and_chapters_and_a_timecode_are_kept(tmp_path):
    write_film(tmp_path / "film.mp4", is_full=True)
    write_film(tmp_path / "film.ts")
    for old, new in (("film.mp4", "clock.mov"), ("film.ts", "data.ts")):
        with av.open(str(tmp_path / old)) as film, av.open(str(tmp_path / new), "w") as out:
            picture = film.streams.video[0]
            copy = out.add_stream_from_template(picture)
            positions = out.add_data_stream("klv") if new == "data.ts" else None
            out.metadata["timecode"] = "01:00:00:00"
            for packet in film.demux(picture):
                if packet.dts is not None:
                    packet.stream = copy
                    out.mux(packet)
            if positions is not None:
                packet = av.Packet(b"north")
                packet.stream, packet.time_base, packet.pts, packet.dts = positions, Fraction(1, 90_000), 0, 0
                out.mux(packet)
    soundfile.write(tmp_path / "stem.wav", tone(1.0), RATE)
    told = {}
    for name, container in (("film.mp4", "mp4"), ("data.ts", "mkv"), ("clock.mov", "mov")):
        with open_audio(tmp_path / "stem.wav") as reader, open(tmp_path / f"new-{name}", "w+b") as file:
            told[name] = write_with_sounds(file, container, [Sound(reader=reader)], picture=Source(tmp_path / name))
    assert told == {
        "film.mp4": [],
        "data.ts": ["has a track of data (klv), which the video is without"],
        "clock.mov": [],
    }
    with av.open(str(tmp_path / "new-clock.mov")) as clock:
        assert [track.metadata["timecode"] for track in clock.streams.data] == ["01:00:00:00"]
    with av.open(str(tmp_path / "new-film.mp4")) as film:
        assert len(film.chapters()) == 2


def test_a_picture_that_is_turned_stays_so(tmp_path):
    """As telephones record upright: by a matrix in the header of the track."""
    write_film(tmp_path / "film.mp4")
    data = (tmp_path / "film.mp4").read_bytes()
    at = data.index(b"tkhd") + 44
    upright = np.array([0, 1 << 16, 0, -(1 << 16), 0, 0, 48 << 16, 0, 1 << 30], ">i4").tobytes()
    (tmp_path / "film.mp4").write_bytes(data[:at] + upright + data[at + 36 :])
    made = with_sound(tmp_path / "film.mp4", tone(1.0))
    with av.open(str(made)) as held:
        assert next(held.decode(video=0)).rotation == -90


def test_the_letters_of_a_codec_stay(tmp_path):
    """Apple's players know HEVC by hvc1 only."""
    try:
        write_film(tmp_path / "film.mp4", codec="libx265", tag="hvc1")
    except ValueError:
        pytest.skip("this build of libav has no encoder for HEVC")
    made = with_sound(tmp_path / "film.mp4", tone(1.0))
    with av.open(str(made)) as held:
        assert held.streams.video[0].codec_context.codec_tag == "hvc1"


def test_names_that_only_quicktime_has_stay(tmp_path):
    write_film(tmp_path / "film.mov", options={"movflags": "use_metadata_tags"})
    made = with_sound(tmp_path / "film.mov", tone(1.0))
    with av.open(str(made)) as held:
        assert held.metadata["com.apple.quicktime.make"] == "A telephone"
        assert held.metadata["title"] == "A film"


@pytest.mark.parametrize(("sound_at", "picture_at"), [(0.0, 0.0), (0.4, 0.0), (0.0, 0.4)])
def test_sound_stays_with_the_picture(tmp_path, sound_at, picture_at):
    """Whichever begins first: what is read begins with the picture, or with the sound where that is earlier."""
    film = tmp_path / "film.mkv"
    write_film(film, sound_at=sound_at, picture_at=picture_at)
    with open_audio(film) as reader:
        heard = np.concatenate(list(reader.blocks(4000)), axis=1)[0]
    made = with_sound(film, heard, "flac", "PCM_24")
    first = []
    for path in (film, made):
        with av.open(str(path)) as held:
            shown = next(held.decode(video=0)).time
        with av.open(str(path)) as held:
            samples = [(frame.time, frame.to_ndarray()[0]) for frame in held.decode(audio=0)]
        # The tone, not the silence that is read in front of it.
        scale = max(np.abs(block).max() for _, block in samples)
        time, block = next((time, block) for time, block in samples if np.abs(block).max() > scale / 10)
        first.append(time + np.argmax(np.abs(block) > scale / 10) / RATE - shown)
    assert first[1] == pytest.approx(first[0], abs=0.005)


def test_what_is_no_film_is_said(tmp_path):
    soundfile.write(tmp_path / "a.wav", tone(0.1), RATE)
    with pytest.raises(AudioReadError, match="has no picture"):
        check_picture(Source(tmp_path / "a.wav"), "mp4")
    (tmp_path / "text.mp4").write_bytes(b"no film")
    with pytest.raises(AudioReadError, match="has no picture that can be read"):
        check_picture(Source(tmp_path / "text.mp4"), "mp4")
    soundfile.write(tmp_path / "quad.wav", np.zeros((100, 4)), RATE)
    with open_audio(tmp_path / "quad.wav") as reader, pytest.raises(AudioWriteError, match="1, 2 or 6 channels"):
        write_with_sounds(io.BytesIO(), "mp4", [Sound(reader=reader)], picture=None)


def test_sounds_that_a_container_does_not_hold_are_said_early():
    with pytest.raises(AudioWriteError, match=r"cannot put FLAC into MOV: pass `video_sound=\"alac\"`"):
        check_sound("flac", "mov", Encoding(), 2)
    with pytest.raises(AudioWriteError, match="cannot put OGG into MP4"):
        check_sound("copy", "mp4", Encoding(container="ogg"), 2)
    with pytest.raises(AudioWriteError, match="AAC is written of 1, 2 or 6 channels and the recording has 4"):
        check_sound("aac", "mp4", Encoding(), 4)
    check_sound("copy", "mp4", Encoding(), 4)


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

"""What files hold beside plain samples: speakers, several recordings, damage, compressed blocks, tags, tracks."""

from __future__ import annotations

import io
import struct

import av
import numpy as np
import pytest
import soundfile

from unbraid.audio.decode.containers import open_container, read_metadata
from unbraid.audio.decode.libav import frame_samples
from unbraid.audio.formats import Encoding
from unbraid.audio.ranges import read_range
from unbraid.audio.reading import open_audio
from unbraid.audio.writing import AudioWriter, write_audio
from unbraid.errors import AudioReadError

RATE = 48_000


def read(source, **settings):
    with open_audio(source, **settings) as reader:
        samples = np.concatenate(list(reader.blocks(10_000)), axis=1)
        return samples, reader.info


def tones(num_channels: int, num_samples: int = RATE // 2) -> np.ndarray:
    """A tone of its own in every channel."""
    time = np.arange(num_samples) / RATE
    return np.stack([0.3 * np.sin(2 * np.pi * (90 + 10 * k) * time) for k in range(num_channels)]).astype(np.float32)


def order_of(samples: np.ndarray, reference: np.ndarray) -> list[int]:
    size = min(samples.shape[1], reference.shape[1])
    return [int(np.abs(reference[:, :size] @ channel[:size]).argmax()) for channel in samples]


def encode(path, codec: str, samples: np.ndarray, layout: str, options: dict[str, str] | None = None) -> None:
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=RATE, options=options or {})
        stream.layout = layout
        stream.bit_rate = 64_000 * samples.shape[0]
        form = stream.codec_context.codec.audio_formats[0].name
        size = stream.codec_context.frame_size or 960
        for start in range(0, samples.shape[1], size):
            block = np.ascontiguousarray(samples[:, start : start + size])
            if form.startswith("s16"):
                block = np.rint(block * 32767).astype(np.int16)
            if not form.endswith("p"):
                block = np.ascontiguousarray(block.T.reshape(1, -1))
            frame = av.AudioFrame.from_ndarray(block, format=form, layout=layout)
            frame.sample_rate, frame.pts = RATE, start
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


@pytest.mark.parametrize(("num_channels", "layout"), [(3, "3.0"), (5, "5.0"), (6, "5.1"), (7, "6.1"), (8, "7.1")])
def test_channels_of_opus_are_in_the_order_of_wave(tmp_path, num_channels, layout):
    # The encoder takes channels in the order of WAVE.
    if "libopus" not in av.codecs_available:
        pytest.skip("this libav has no libopus")
    signal, path = tones(num_channels), tmp_path / "a.opus"
    encode(path, "libopus", signal, layout, {"mapping_family": "1"})
    samples, info = read(path)
    assert order_of(samples, signal) == list(range(num_channels))
    assert bin(info.channel_mask or 0).count("1") == num_channels
    assert order_of(read_range(path, 4_800, 9_600), samples[:, 4_800:14_400]) == list(range(num_channels))


@pytest.mark.parametrize("num_channels", [3, 4, 5, 6, 7, 8])
def test_channels_of_ogg_that_is_written_are_in_its_own_order(tmp_path, num_channels):
    signal, path = tones(num_channels), tmp_path / "a.ogg"
    write_audio(path, signal, RATE, Encoding(container="ogg"))
    assert order_of(read(path)[0], signal) == list(range(num_channels))
    with av.open(str(path)) as container:  # It knows the order by itself.
        frames = [frame_samples(frame) for frame in container.decode(audio=0)]
    assert order_of(np.concatenate(frames, axis=1), signal) == list(range(num_channels))
    part = read_range(path, 4_800, 9_600)
    assert order_of(part, signal[:, 4_800:14_400]) == list(range(num_channels))


@pytest.mark.parametrize(
    ("num_channels", "mask"), [(3, 0x0B), (4, 0x33), (4, 0x107), (6, 0x60F), (8, 0xFF), (5, 0), (2, 0x600)]
)
def test_the_channel_mask_of_wave_is_carried_through(tmp_path, num_channels, mask):
    path, out = tmp_path / "a.wav", tmp_path / "b.wav"
    for target, channel_mask in ((path, mask), (out, None)):
        if channel_mask is None:
            channel_mask = read(path)[1].channel_mask
        with AudioWriter(target, RATE, num_channels, Encoding(sample="int16"), channel_mask=channel_mask) as writer:
            writer.write(tones(num_channels))
            writer.commit()
    data = out.read_bytes()
    at = data.index(b"fmt ") + 8
    if mask:
        assert struct.unpack("<H", data[at : at + 2])[0] == 0xFFFE
    assert struct.unpack("<I", data[at + 20 : at + 24])[0] == mask


def encoded(container: str, signal: np.ndarray, **settings) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, signal.T, RATE, format=container, **settings)
    return file.getvalue()


@pytest.mark.parametrize(
    ("container", "settings"),
    [("OGG", {"subtype": "VORBIS"}), ("OGG", {"subtype": "OPUS"}), ("FLAC", {}), ("MP3", {})],
)
def test_recordings_that_are_joined_are_read_to_the_end(container, settings):
    first, second = tones(2), tones(2)[::-1].copy()
    a, b = encoded(container, first, **settings), encoded(container, second, **settings)
    if container == "MP3":
        b = b"ID3\x04\0\0\0\0\0\x0a" + bytes(10) + b
    samples, _ = read(a + b + a)
    expected = [read(part)[0] for part in (a, b, a)]
    np.testing.assert_array_equal(samples, np.concatenate(expected, axis=1))


def test_a_change_of_channels_between_joined_recordings_is_told():
    with pytest.raises(AudioReadError, match="changes to 1 channels"):
        read(encoded("FLAC", tones(2)) + encoded("FLAC", tones(1)))


@pytest.mark.parametrize("container", ["MP3", "FLAC"])
def test_damage_in_the_middle_is_silent_and_keeps_the_time(container):
    noise = np.random.default_rng(0).uniform(-0.4, 0.4, (2, 4 * RATE)).astype(np.float32)
    data = bytearray(encoded(container, noise))
    whole, _ = read(bytes(data))
    middle = len(data) // 2
    data[middle : middle + 1500] = bytes(1500)
    with pytest.raises(AudioReadError, match="is damaged after"):
        read(bytes(data))
    samples, info = read(bytes(data), allow_truncated=True)
    assert any("is damaged at" in remark and "silent" in remark for remark in info.remarks)
    np.testing.assert_allclose(samples[:, :RATE], whole[:, :RATE], atol=1e-6)
    np.testing.assert_allclose(samples[:, 3 * RATE : 4 * RATE - 2400], whole[:, 3 * RATE : -2400], atol=1e-6)


@pytest.mark.parametrize(("subtype", "rate"), [("GSM610", 8_000), ("MS_ADPCM", RATE), ("IMA_ADPCM", RATE)])
def test_compressed_wave_has_the_length_of_its_fact_chunk(tmp_path, subtype, rate):
    path = tmp_path / "a.wav"
    soundfile.write(path, tones(1, 10_007)[0], rate, subtype=subtype)
    data = bytearray(path.read_bytes())
    at = data.index(b"fact") + 8
    data[at : at + 4] = struct.pack("<I", 10_007)
    path.write_bytes(data)
    assert read(path)[0].shape == (1, 10_007)
    data[at : at + 4] = bytes(4)  # Nothing is promised then.
    path.write_bytes(data)
    assert read(path)[0].shape[1] >= 10_007


def test_names_are_not_believed(tmp_path):
    path = tmp_path / "a.raw"
    path.write_bytes(encoded("WAV", tones(1)))
    assert read(path)[0].shape == (1, RATE // 2)
    path.write_bytes(np.random.default_rng(0).bytes(4_000))
    with pytest.raises(AudioReadError, match="is not audio"):
        read(path)


@pytest.mark.parametrize("container", ["WAV", "AIFF", "FLAC", "OGG"])
def test_tags_in_front_are_stepped_over(container):
    data = encoded(container, tones(2))
    np.testing.assert_array_equal(read(b"ID3\x03\0\0\0\0\0\x0a" + bytes(10) + data)[0], read(data)[0])


@pytest.mark.parametrize("encoding", ["utf-8", "cp1252"])
def test_tags_of_wave_in_either_encoding(encoding):
    data = encoded("WAV", tones(1))
    info = b"INFO"
    for code, text in ((b"INAM", "Café"), (b"IART", "Björk")):
        value = text.encode(encoding) + b"\0"
        info += code + struct.pack("<I", len(value)) + value + b"\0" * (len(value) % 2)
    data = data[:36] + b"LIST" + struct.pack("<I", len(info)) + info + data[36:]
    assert read(data)[1].tags == {"title": "Café", "artist": "Björk"}


@pytest.mark.parametrize("container", ["matroska", "mp4"])
def test_tags_that_are_not_utf_8_are_text_all_the_same(container):
    file = io.BytesIO()
    with av.open(file, "w", format=container) as out:
        out.metadata.update({"title": "Cafxx", "artist": "Björk"})
        track = out.add_stream("aac", rate=RATE)
        frame = av.AudioFrame.from_ndarray(np.zeros((2, 2_048), np.float32), format="fltp", layout="stereo")
        frame.sample_rate = RATE
        out.mux(track.encode(frame))
        out.mux(track.encode(None))
    data = file.getvalue()
    assert b"Cafxx" in data
    with open_container(io.BytesIO(data.replace(b"Cafxx", b"Caf\xe9!"))) as opened:
        tags = {name.lower(): text for name, text in read_metadata(opened).items()}
    assert (tags["title"], tags["artist"]) == ("Café!", "Björk")


def video(path, *, sound_from: float = 0.0) -> None:
    """A second of picture and two sound tracks: mono in English, then stereo in German, which is the default."""
    with av.open(str(path), "w") as container:
        picture = container.add_stream("mpeg4", rate=10)
        picture.width, picture.height, picture.pix_fmt = 32, 32, "yuv420p"
        tracks = []
        for layout, language in (("mono", "eng"), ("stereo", "ger")):
            track = container.add_stream("pcm_s16le", rate=RATE)
            track.layout = layout
            track.metadata["language"] = language
            tracks.append(track)
        tracks[0].disposition = 0
        tracks[1].disposition = av.stream.Disposition.default
        for _ in range(10):
            container.mux(picture.encode(av.VideoFrame.from_ndarray(np.zeros((32, 32, 3), np.uint8), format="rgb24")))
        container.mux(picture.encode(None))
        for track in tracks:
            frame = av.AudioFrame.from_ndarray(
                np.full((1, RATE * track.layout.nb_channels), 3_000, np.int16), format="s16", layout=track.layout.name
            )
            frame.sample_rate, frame.pts = RATE, round(sound_from * RATE)
            container.mux(track.encode(frame))
            container.mux(track.encode(None))


def test_a_sound_track_of_a_codec_that_is_unknown_here_is_passed_over(tmp_path):
    path = tmp_path / "a.mkv"
    video(path)
    first, _, last = path.read_bytes().rpartition(b"A_PCM/INT/LIT")
    path.write_bytes(first + b"A_XYZ/INT/LIT" + last)
    samples, info = read(path)
    assert samples.shape[0] == 1
    assert any("2: ger, unknown codec" in remark and "track 1 is separated" in remark for remark in info.remarks)
    with pytest.raises(AudioReadError, match="cannot be decoded"):
        read(path, track="2")


def test_the_sound_track_of_a_video_is_chosen(tmp_path):
    path = tmp_path / "a.mkv"
    video(path)
    samples, info = read(path)
    assert samples.shape[0] == 2
    assert any("2 sound tracks" in remark and "track 2" in remark for remark in info.remarks)
    for track, num_channels in (("1", 1), ("2", 2), ("eng", 1), ("de", None), ("GER", 2)):
        if num_channels is None:
            with pytest.raises(AudioReadError, match="no sound track 'de'"):
                read(path, track=track)
        else:
            samples, info = read(path, track=track)
            assert samples.shape[0] == num_channels
            assert not info.remarks
    with pytest.raises(AudioReadError, match="only one"):
        read(encoded("WAV", tones(1)), track="2")


def test_sound_that_starts_after_the_picture_keeps_its_place(tmp_path):
    path = tmp_path / "a.mkv"
    video(path, sound_from=0.5)
    samples, info = read(path)
    assert samples.shape[1] == RATE + RATE // 2
    assert not samples[:, : RATE // 2 - 100].any()
    assert samples[:, RATE // 2 + 100 :].all()
    assert any("0.50 s after its picture" in remark for remark in info.remarks)

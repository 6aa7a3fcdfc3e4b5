"""What is written is what is read, under its name only when it is complete."""

from __future__ import annotations

import errno
import io
import os
import resource
import shutil
import signal
import stat
import subprocess

import av
import numpy as np
import pytest
import soundfile

from unbraid.audio.encode.wav import may_outgrow
from unbraid.audio.formats import Encoding
from unbraid.audio.reading import open_audio
from unbraid.audio.recording import Recording
from unbraid.audio.writing import AudioWriter, write_audio, write_stream
from unbraid.errors import AudioWriteError, ConfigError

LOSSLESS = [("wav", "int16"), ("wav", "int24"), ("wav", "int32"), ("wav", "float32"), ("wav", "float64")]
LOSSLESS += [("flac", "int16"), ("flac", "int24")]
CONTAINERS = ["wav", "flac", "mp3", "ogg"]


@pytest.mark.parametrize(("container", "sample"), LOSSLESS)
@pytest.mark.parametrize("num_channels", [1, 2, 6])
def test_lossless_round_trips_to_half_a_step(tmp_path, container, sample, num_channels):
    encoding = Encoding(container=container, sample=sample)
    samples = np.random.default_rng(0).uniform(-1, 0.99, (num_channels, 5_001)).astype(np.float32)
    path = tmp_path / f"a.{container}"
    write_audio(path, samples, 44_100, encoding)
    returned = Recording.read(path).samples
    np.testing.assert_allclose(returned, samples, atol=0 if encoding.is_float else 2.0**-encoding.bits + 1e-9, rtol=0)
    with open_audio(path) as reader:
        kept = Encoding.for_input(reader.info)
    assert kept.sample == ("float32" if encoding.is_float else sample)
    # Other programs read it too.
    expected, _ = soundfile.read(path, dtype="float32", always_2d=True)
    np.testing.assert_array_equal(expected.T, returned)
    with av.open(str(path)) as container_file:
        assert sum(frame.samples for frame in container_file.decode(audio=0)) == 5_001


@pytest.mark.parametrize(("container", "sample"), LOSSLESS)
def test_a_second_generation_is_identical(tmp_path, container, sample, noise):
    encoding = Encoding(container=container, sample=sample)
    write_audio(tmp_path / "1", noise, 44_100, encoding)
    once = Recording.read(tmp_path / "1")
    write_audio(tmp_path / "2", once.samples, 44_100, encoding)
    np.testing.assert_array_equal(Recording.read(tmp_path / "2").samples, once.samples)


@pytest.mark.parametrize("container", ["mp3", "ogg"])
def test_lossy_keeps_length_time_and_sound(tmp_path, tone, container):
    path = tmp_path / f"a.{container}"
    write_audio(path, tone, 48_000, Encoding(container=container))
    returned = Recording.read(path)
    assert returned.num_samples == 48_000
    np.testing.assert_allclose(returned.samples[:, 3_000:45_000], tone[:, 3_000:45_000], atol=0.02)


@pytest.mark.parametrize("container", CONTAINERS)
def test_the_same_samples_are_the_same_bytes_each_time(tmp_path, tone, container):
    written = []
    for path in (tmp_path / "1", tmp_path / "2"):
        write_audio(path, tone, 48_000, Encoding(container=container))
        written.append(path.read_bytes())
    assert written[0] == written[1]
    with av.open(io.BytesIO(written[0])) as file:
        assert sum(frame.samples for frame in file.decode(audio=0)) >= 48_000


def test_pages_of_ogg_have_the_serial_number_of_their_content_and_their_checksum(tmp_path, tone):
    serials = set()
    for name, samples in (("1", tone), ("2", 0.5 * tone)):
        write_audio(tmp_path / name, samples, 48_000, Encoding(container="ogg"))
        data, start = (tmp_path / name).read_bytes(), 0
        while start < len(data):
            header = data[start : start + 27 + data[start + 26]]
            page = bytearray(data[start : start + len(header) + sum(header[27:])])
            checksum = int.from_bytes(page[22:26], "little")
            page[22:26] = bytes(4)
            assert checksum == ogg_checksum(page)
            serials.add(header[14:18])
            start += len(page)
    assert len(serials) == 2


def ogg_checksum(page: bytes) -> int:
    """Bit by bit, as RFC 3533 has it."""
    value = 0
    for byte in page:
        value ^= byte << 24
        for _ in range(8):
            value = ((value << 1) ^ (0x04C11DB7 if value >> 31 else 0)) & 0xFFFFFFFF
    return value


@pytest.mark.parametrize(
    ("rate", "asked", "got"), [(44_100, 128, 128), (44_100, 320, 320), (22_050, 320, 160), (8_000, 64, 64)]
)
def test_mp3_has_the_constant_rate_that_was_asked(tmp_path, rate, asked, got):
    samples = np.random.default_rng(0).uniform(-0.1, 0.1, (2, rate * 8)).astype(np.float32)
    write_audio(tmp_path / "a.mp3", samples, rate, Encoding(container="mp3", bitrate_kbps=asked))
    assert (tmp_path / "a.mp3").stat().st_size * 8 / 8 / 1000 == pytest.approx(got, rel=0.05)


@pytest.mark.parametrize(("container", "sample"), [*LOSSLESS, ("mp3", None), ("ogg", None)])
def test_files_do_not_depend_on_the_blocks(tmp_path, noise, container, sample):
    encoding = Encoding(container=container, sample=sample)
    write_audio(tmp_path / "whole", noise, 44_100, encoding)
    with AudioWriter(tmp_path / "parts", 44_100, 2, encoding, expected_samples=noise.shape[1]) as writer:
        for start in range(0, noise.shape[1], 7_013):
            writer.write(noise[:, start : start + 7_013])
        assert writer.num_samples == noise.shape[1]
        assert writer.peak == pytest.approx(np.abs(noise).max())
        writer.commit()
    whole, parts = Recording.read(tmp_path / "whole"), Recording.read(tmp_path / "parts")
    np.testing.assert_array_equal(parts.samples, whole.samples)


@pytest.mark.parametrize(("container", "sample"), LOSSLESS)
def test_integers_clamp_and_floats_keep_what_exceeds_full_scale(tmp_path, container, sample):
    encoding = Encoding(container=container, sample=sample)
    loud = np.array([[-3.0, -1.0, 1.0, 1.7, 0.5]], np.float32)
    write_audio(tmp_path / "a", loud, 8_000, encoding)
    returned = Recording.read(tmp_path / "a").samples
    if encoding.is_float:
        np.testing.assert_array_equal(returned, loud)
    else:
        np.testing.assert_allclose(returned, np.clip(loud, -1, 1), atol=2.0**-15)


@pytest.mark.parametrize("container", CONTAINERS)
@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_nothing_is_left_without_commit(tmp_path, noise, container, error):
    old = tmp_path / "talk"
    old.write_bytes(b"old")

    def interrupted():
        with AudioWriter(old, 44_100, 2, Encoding(container=container)) as writer:
            writer.write(noise)
            assert len(list(tmp_path.iterdir())) == 2
            raise error

    with pytest.raises(error):
        interrupted()
    assert list(tmp_path.iterdir()) == [old]
    assert old.read_bytes() == b"old"


def test_an_interrupt_inside_an_encoder_is_not_lost(tmp_path, noise, monkeypatch):
    def interrupted():
        with AudioWriter(tmp_path / "a.flac", 44_100, 2, Encoding(container="flac")) as writer:

            class Interrupting(io.BytesIO):
                def write(self, data):
                    raise KeyboardInterrupt

            monkeypatch.setattr(writer._sink._guarded, "_target", Interrupting())
            writer.write(noise)

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert list(tmp_path.iterdir()) == []


def test_the_temporary_file_is_hidden_and_in_the_same_folder(tmp_path):
    with AudioWriter(tmp_path / "new" / "folder" / "talk.wav", 8_000, 1, Encoding()):
        (partial,) = (tmp_path / "new" / "folder").iterdir()
        assert partial.name.startswith(".talk.wav.partial-")


@pytest.mark.parametrize("container", CONTAINERS)
@pytest.mark.parametrize("letter", ["x", "é", "語"])
def test_the_longest_names_work(tmp_path, tone, container, letter):
    path = tmp_path / (letter * ((255 - 5) // len(letter.encode())) + f".{container}")
    write_audio(path, tone, 48_000, Encoding(container=container))
    assert Recording.read(path).num_samples == 48_000


def test_bad_places_are_explained_at_once(tmp_path):
    def complaint(path) -> str:
        with pytest.raises(AudioWriteError) as caught, AudioWriter(path, 8_000, 1, Encoding()):
            pass
        assert "\n" not in str(caught.value)
        return str(caught.value)

    (tmp_path / "file").touch()
    assert "it is a folder" in complaint(tmp_path)
    assert "too long" in complaint(tmp_path / ("x" * 256))
    assert "is a file, not a folder" in complaint(tmp_path / "file" / "a.wav")
    assert "not a file" in complaint("/dev/null")
    assert stat.S_ISCHR(os.stat("/dev/null").st_mode)
    assert sorted(tmp_path.iterdir()) == [tmp_path / "file"]


@pytest.mark.parametrize(
    ("code", "words"), [(errno.EACCES, "may not write"), (errno.EROFS, "read-only"), (errno.ENOSPC, "disk is full")]
)
def test_what_the_system_refuses_is_explained(tmp_path, monkeypatch, code, words):
    def refuse(*_, **__):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(AudioWriteError, match=words):
        AudioWriter(tmp_path / "a.wav", 8_000, 1, Encoding())


@pytest.fixture
def small_disk(tmp_path):
    """A real file system of one megabyte, where this user may mount one."""
    place = tmp_path / "small"
    place.mkdir()
    mount = shutil.which("mount")
    if (
        mount is None
        or subprocess.run([mount, "-t", "tmpfs", "-o", "size=1m", "tmpfs", place], capture_output=True).returncode
    ):
        pytest.skip("this user may not mount a file system")
    yield place
    subprocess.run(["umount", place], check=True)


@pytest.mark.parametrize("container", CONTAINERS)
def test_a_full_disk_is_explained_and_cleaned(small_disk, container):
    loud = np.random.default_rng(0).uniform(-1, 1, (2, 200_000)).astype(np.float32)

    def fill():
        with AudioWriter(small_disk / "a", 44_100, 2, Encoding(container=container)) as writer:
            for _ in range(20):
                writer.write(loud)
            writer.commit()

    with pytest.raises(AudioWriteError, match="a': the disk is full"):
        fill()
    assert list(small_disk.iterdir()) == []


@pytest.mark.parametrize("container", CONTAINERS)
def test_a_file_system_that_ends_is_explained_and_cleaned(tmp_path, container):
    """The limit on file sizes makes the kernel itself refuse, in the middle of a write, for any user."""
    loud = np.random.default_rng(0).uniform(-1, 1, (2, 100_000)).astype(np.float32)

    def fill():
        with AudioWriter(tmp_path / "a", 44_100, 2, Encoding(container=container)) as writer:
            for _ in range(10):
                writer.write(loud)
            writer.commit()

    old = resource.getrlimit(resource.RLIMIT_FSIZE)
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, old[1]))
    try:
        with pytest.raises(AudioWriteError, match="does not hold files that large"):
            fill()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, old)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="only Linux has /dev/full")
def test_a_stream_to_a_full_device_is_explained(noise):
    with (
        pytest.raises(AudioWriteError, match="standard output: the disk is full"),
        open("/dev/full", "wb", buffering=0) as file,
    ):
        write_stream(file, [noise], 44_100, 2, Encoding())


def test_a_stream_whose_reader_has_gone_is_explained(noise):
    reading, writing = os.pipe()
    os.close(reading)
    with pytest.raises(AudioWriteError, match="has ended"), open(writing, "wb", buffering=0) as file:
        write_stream(file, [noise], 44_100, 2, Encoding())


@pytest.mark.parametrize("sample", ["int16", "int24", "float32"])
def test_a_stream_is_read_back(noise, sample):
    file = io.BytesIO()
    peak = write_stream(file, np.array_split(noise, 5, axis=1), 44_100, 2, Encoding(sample=sample))
    assert peak == pytest.approx(np.abs(noise).max())
    returned = Recording.read(file.getvalue())
    np.testing.assert_allclose(returned.samples, noise, atol=2e-5)
    np.testing.assert_array_equal(soundfile.read(io.BytesIO(file.getvalue()), dtype="float32")[0].T, returned.samples)


def test_a_stream_must_be_wav():
    with pytest.raises(AudioWriteError, match='`container="wav"`'):
        write_stream(io.BytesIO(), [], 44_100, 2, Encoding(container="flac"))


def test_limits_of_formats_name_the_alternative(tmp_path):
    for encoding, rate, channels in [
        (Encoding(container="flac"), 44_100, 9),
        (Encoding(container="mp3"), 44_100, 3),
        (Encoding(container="mp3"), 96_000, 2),
        (Encoding(container="ogg"), 384_000, 1),
    ]:
        with pytest.raises(AudioWriteError, match='`container="wav"`'):
            AudioWriter(tmp_path / "a", rate, channels, encoding)
    assert list(tmp_path.iterdir()) == []


def test_samples_that_are_not_numbers_are_refused(tmp_path):
    with pytest.raises(AudioWriteError, match="not numbers"):
        write_audio(tmp_path / "a.wav", np.array([[0, np.nan]], np.float32), 8_000, Encoding(sample="int16"))


@pytest.mark.parametrize("container", CONTAINERS)
def test_tags_are_kept(tmp_path, tone, container):
    tags = {"title": "Ária", "artist": "João", "album": "Álbum", "date": "2001"}
    write_audio(tmp_path / "a", tone, 48_000, Encoding(container=container), tags)
    with open_audio(tmp_path / "a") as reader:
        assert tags.items() <= dict(reader.info.tags).items()


def test_a_link_stays_a_link(tmp_path, tone):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "link.wav").symlink_to(tmp_path / "elsewhere" / "real.wav")
    write_audio(tmp_path / "link.wav", tone, 48_000, Encoding())
    assert (tmp_path / "link.wav").is_symlink()
    assert Recording.read(tmp_path / "elsewhere" / "real.wav").num_samples == 48_000


def test_room_for_rf64_is_kept_unless_the_file_is_surely_small(tmp_path):
    assert may_outgrow(None, 1, Encoding())
    assert not may_outgrow(10**6, 2, Encoding())
    assert may_outgrow(2**29, 2, Encoding())
    write_audio(tmp_path / "plain.wav", np.zeros((1, 10), np.float32), 8_000, Encoding(sample="int16"))
    data = (tmp_path / "plain.wav").read_bytes()
    assert (data.find(b"data"), len(data)) == (36, 64)
    with AudioWriter(tmp_path / "unknown.wav", 8_000, 1, Encoding(sample="int16")) as writer:
        writer.commit()
    assert b"JUNK" in (tmp_path / "unknown.wav").read_bytes()


class Sparse(io.FileIO):
    """Makes holes instead of writing long blocks, so that gigabytes take no time."""

    def write(self, data):
        if len(data) > 1 << 20:
            self.seek(len(data), os.SEEK_CUR)
            return len(data)
        return super().write(data)


@pytest.mark.parametrize("num_blocks", [128, *(pytest.param(n, marks=pytest.mark.slow) for n in (127, 160))])
def test_sizes_beyond_4_gib_are_right(tmp_path, num_blocks):
    from unbraid.audio.encode.wav import WavSink

    path = tmp_path / "huge.wav"
    silence = np.zeros((2, 1 << 22), np.float32)  # 32 MiB
    with Sparse(path, "w+") as file:
        sink = WavSink(file, 48_000, 2, Encoding())
        for _ in range(num_blocks):
            sink.write(silence)
        sink.finish()
        file.truncate(max(file.seek(0, os.SEEK_END), num_blocks * (1 << 25)))
    info = soundfile.info(path)
    assert info.format == ("WAV" if num_blocks < 128 else "RF64")
    with open_audio(path, allow_truncated=True) as reader:
        assert abs(reader.info.num_samples - num_blocks * (1 << 22)) <= 16  # the holes at the very end of a sparse file


@pytest.mark.slow
def test_more_than_4_gib_are_written_and_read(tmp_path):
    path = tmp_path / "huge.wav"
    block = np.full((2, 1 << 22), 0.5, np.float32)
    with AudioWriter(path, 48_000, 2, Encoding()) as writer:
        for _ in range(132):
            writer.write(block)
        writer.commit()
    with open_audio(path) as reader:
        assert reader.info.num_samples == 132 * (1 << 22)
        assert sum(block.shape[1] for block in reader.blocks(1 << 22)) == 132 * (1 << 22)
    path.unlink()  # pytest keeps its folders for a while


def test_encodings_say_what_does_not_go():
    with pytest.raises(ConfigError, match="flac does not hold float32"):
        Encoding(container="flac", sample="float32")
    with pytest.raises(ConfigError, match="bit rate"):
        Encoding(container="mp3", bitrate_kbps=300)
    with pytest.raises(ConfigError, match="end it in"):
        Encoding.for_path("a.xyz")
    assert Encoding(sample="int16").within("flac").sample == "int16"
    assert Encoding(sample="float32").within("flac").sample == "int24"
    assert Encoding(container="ogg").within("wav").sample == "float32"

"""Each kind of bad input gives one sentence that names the file and says what to do."""

from __future__ import annotations

import hashlib
import io
import os
import struct
from contextlib import suppress

import numpy as np
import pytest
import soundfile

from unbraid.audio import sources
from unbraid.audio.decode.headers import find_truncation
from unbraid.audio.formats import check_rate
from unbraid.audio.reading import open_audio
from unbraid.audio.sniffing import SNIFF_BYTES, begins_like_audio
from unbraid.errors import AudioReadError, UnbraidError


def complaint(source, **settings) -> str:
    with pytest.raises(AudioReadError) as caught, open_audio(source, **settings) as reader:
        for _ in reader.blocks(10_000):
            pass
    message = str(caught.value)
    assert "\n" not in message
    assert len(message) < 500
    return message


def count(source, **settings) -> int:
    with open_audio(source, **settings) as reader:
        return sum(block.shape[1] for block in reader.blocks(10_000))


def test_missing(tmp_path):
    assert "nowhere.wav' does not exist" in complaint(tmp_path / "nowhere.wav")


def test_folder(tmp_path):
    assert "is a folder" in complaint(tmp_path)


def test_empty_file(tmp_path):
    (tmp_path / "a.wav").touch()
    assert "a.wav' is empty (0 bytes)" in complaint(tmp_path / "a.wav")
    assert "is empty" in complaint(b"")


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read everything")
def test_no_permission(tmp_path):
    path = tmp_path / "a.wav"
    path.write_bytes(b"RIFF")
    path.chmod(0)
    assert "may not be read" in complaint(path)


def test_no_permission_for_root_too(tmp_path, monkeypatch):
    def refuse(*_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "stat", refuse)
    assert "a.wav' may not be read" in complaint(tmp_path / "a.wav")


def test_impossible_names(tmp_path):
    assert "cannot be opened" in complaint(tmp_path / ("x" * 300))
    assert "is not a file name" in complaint("a\0b.wav")


def test_text(tmp_path):
    path = tmp_path / "talk.wav"
    path.write_text("This is not audio. Não é áudio.\n" * 100, encoding="utf-8")
    assert "talk.wav' holds text" in complaint(path)
    path.write_text("<!DOCTYPE html><html><body>404</body></html>")
    assert "holds a web page" in complaint(path)
    path.write_text("#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\n/etc/hostname\n#EXT-X-ENDLIST\n")
    assert "holds text" in complaint(path)


@pytest.mark.parametrize("head", [b"", b"RIFF\x10\0\0\0WAVE", b"fLaC", b"OggS", b"\xff\xfb\x90\0", b"ID3\x04", b"caff"])
def test_rubbish_of_any_kind(tmp_path, head):
    path = tmp_path / "x.wav"
    path.write_bytes(head + np.random.default_rng(0).bytes(5_000))
    assert "x.wav'" in complaint(path)
    assert "x.wav'" in complaint(path, allow_truncated=True)


def test_video_without_sound(tmp_path, encode_with_libav):
    path = encode_with_libav(tmp_path / "silent.mp4", None, video=True)
    assert "silent.mp4' holds a video without sound" in complaint(path)


@pytest.mark.parametrize("container", ["WAV", "AIFF", "FLAC", "CAF", "W64", "RF64", "OGG"])
def test_no_samples(tmp_path, container):
    path = tmp_path / "none"
    soundfile.write(path, np.zeros((0, 2)), 48_000, format=container)
    assert "none'" in complaint(path)


PROMISING = [("WAV", "PCM_16"), ("WAV", "FLOAT"), ("WAVEX", "PCM_24"), ("RF64", "PCM_16"), ("W64", "PCM_16")]
PROMISING += [("AIFF", "PCM_16"), ("FLAC", "PCM_16"), ("MP3", None)]


@pytest.mark.parametrize(("container", "subtype"), PROMISING)
def test_truncated_with_seconds(tmp_path, container, subtype):
    path = tmp_path / "talk"
    rng = np.random.default_rng(0)
    soundfile.write(path, rng.uniform(-0.1, 0.1, (240_000, 2)), 48_000, subtype, format=container)
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    message = complaint(path)
    assert "talk' is truncated (its header promises 5.0 s and it holds 2." in message
    assert "`allow_truncated=True`" in message
    assert 100_000 < count(path, allow_truncated=True) < 124_000
    assert "truncated" in complaint(path.read_bytes())


@pytest.mark.parametrize("container", ["CAF", "OGG"])
def test_truncated_others(tmp_path, container):
    path = tmp_path / "talk"
    soundfile.write(path, np.random.default_rng(0).uniform(-0.1, 0.1, (240_000, 2)), 48_000, format=container)
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    assert "talk' is truncated" in complaint(path)
    assert count(path, allow_truncated=True) > 90_000


@pytest.mark.parametrize(
    ("name", "options"), [("a.m4a", {"movflags": "faststart"}), ("late.m4a", {}), ("a.mka", {}), ("a.webm", {})]
)
def test_truncated_mp4_and_matroska(tmp_path, tone, encode_with_libav, name, options):
    codec = "libopus" if name.endswith("webm") else "aac"
    tone = np.tile(tone, 4)
    path = encode_with_libav(
        tmp_path / name, codec, tone, sample_format="flt" if codec == "libopus" else "fltp", options=options
    )
    data = path.read_bytes()
    path.write_bytes(data[: 2 * len(data) // 3])
    assert f"{name}' is truncated" in complaint(path)
    if name == "late.m4a":  # the index was at the end; nothing can be decoded without it
        assert "late.m4a' is not audio that can be read" in complaint(path, allow_truncated=True)
    else:
        assert 40_000 < count(path, allow_truncated=True) < 192_000


def test_flac_damaged_in_the_middle(tmp_path):
    path = tmp_path / "talk.flac"
    rng = np.random.default_rng(0)
    soundfile.write(path, rng.uniform(-0.1, 0.1, (240_000, 2)), 48_000)
    data = bytearray(path.read_bytes())
    data[len(data) // 2 : len(data) // 2 + 3_000] = rng.bytes(3_000)
    path.write_bytes(data)
    assert "talk.flac' is damaged after 2." in complaint(path)
    assert 100_000 < count(path, allow_truncated=True) <= 240_000


def test_a_damaged_libav_stream_never_escapes_as_another_error(tmp_path, tone, encode_with_libav):
    path = encode_with_libav(tmp_path / "a.m4a", "aac", np.tile(tone, 4))
    whole = path.read_bytes()
    samples = count(whole)
    rng = np.random.default_rng(1)
    refused = {False: 0, True: 0}
    for _ in range(30):
        data = bytearray(whole)
        at = int(rng.integers(0, len(data) - 200))
        data[at : at + 200] = rng.bytes(200)
        for allow in refused:
            try:
                read = count(bytes(data), allow_truncated=allow)
            except AudioReadError as error:
                refused[allow] += 1
                assert "the given bytes" in str(error)  # noqa: PT017
            else:
                assert 0 < read <= samples
    # Damage is told wherever a decoder notices it; where it may be borne, what is whole comes out.
    assert refused[False] > refused[True]


def test_a_sample_format_that_nothing_decodes_to_an_array(tmp_path):
    header = b"RIFF\0\0\0\0WAVEfmt \x10\0\0\0" + struct.pack("<HHIIHH", 1, 1, 8_000, 64_000, 8, 64)
    path = tmp_path / "a.wav"
    path.write_bytes(header + b"data" + struct.pack("<I", 8_000) + bytes(8_000))
    assert "a.wav' stores its samples as s64" in complaint(path)


def test_not_a_number(tmp_path):
    path = tmp_path / "talk.wav"
    samples = np.full((30_000, 2), 0.25, np.float32)
    samples[12_000, 1] = np.nan
    samples[12_001:12_003, 0] = np.inf
    soundfile.write(path, samples, 8_000, "FLOAT")
    message = complaint(path)
    assert "talk.wav' holds 3 samples that are not numbers" in message
    assert "the first at 1.5000 s" in message
    assert "`replace_nonfinite=True`" in message
    with open_audio(path, replace_nonfinite=True) as reader:
        mended = np.concatenate(list(reader.blocks(10_000)), axis=1)
    assert np.isfinite(mended).all()
    assert (mended == 0).sum() == 3


@pytest.mark.parametrize("rate", [500, 999, 384_001, 1_000_000])
def test_sample_rates_outside_the_range(tmp_path, rate):
    path = tmp_path / "a.wav"
    soundfile.write(path, np.zeros((100, 1)), rate)
    assert f"a.wav' has a sample rate of {rate} Hz, and unbraid takes 1,000 to 384,000 Hz" in complaint(path)


@pytest.mark.parametrize("rate", [1_000, 384_000])
def test_sample_rates_at_the_ends_of_the_range(tmp_path, rate):
    path = tmp_path / "a.wav"
    soundfile.write(path, np.zeros((100, 1)), rate)
    assert count(path) == 100


def test_headers_of_any_bytes_are_walked_without_error():
    rng = np.random.default_rng(0)
    heads = [b"RIFF1234WAVE", b"RF641234WAVEds64", b"FORM1234AIFF", b"riff12345678", b"caff\0\1\0\0", b"\0\0\0\x18ftyp"]
    for head in [
        *heads,
        b"OggS",
        b"\x1aE\xdf\xa3\x84abcd\x18\x53\x80\x67",
        b"ID3\4\0\0\0\0\0\0\xff\xfb\x90\0",
        b"\xff\xfb",
    ]:
        for length in (0, 1, 5, 20, 500):
            find_truncation(io.BytesIO(head + rng.bytes(length)))
            find_truncation(io.BytesIO(head + bytes(length)))


def test_chunks_without_end_are_refused_before_a_decoder_walks_them():
    flood = b"RIFF\xff\xff\xff\xffWAVE" + b"junk\0\0\0\0" * 10_001
    assert "has no samples in its first 10,000 chunks: it is damaged, or no recording" in complaint(flood)
    # Marks behind the samples are no fault, however many.
    data = io.BytesIO()
    soundfile.write(data, np.zeros((1_000, 1)), 8_000, format="WAV")
    marked = bytearray(data.getvalue() + b"mark\0\0\0\0" * 10_001)
    marked[4:8] = struct.pack("<I", len(marked) - 8)
    assert count(bytes(marked)) == 1_000


def test_a_header_that_counts_itself_is_forgiven():
    data = io.BytesIO()
    soundfile.write(data, np.zeros((1_000, 1)), 8_000, format="WAV")
    header = bytearray(data.getvalue())
    at = header.find(b"data") + 4
    header[at : at + 4] = struct.pack("<I", 2_000 + 44)
    assert count(bytes(header)) == 1_000


@pytest.mark.parametrize("extra", [1, 5000])
def test_a_flac_that_promises_more_than_it_holds_gives_all_that_it_holds(tmp_path, extra):
    path, num_samples = tmp_path / "talk.flac", 10_000
    soundfile.write(path, np.linspace(-0.5, 0.5, num_samples), 8_000)
    content = bytearray(path.read_bytes())
    counts = int.from_bytes(content[21:26], "big")  # 36 bits of it are the number of samples
    content[21:26] = (counts + extra).to_bytes(5, "big")
    path.write_bytes(content)
    assert "truncated (its header promises" in complaint(path)
    with open_audio(path, allow_truncated=True) as reader:
        assert reader.info.num_samples == num_samples
        samples = np.concatenate(list(reader.blocks(777)), axis=1)
    assert samples.shape == (1, num_samples)
    assert np.allclose(samples[0], np.linspace(-0.5, 0.5, num_samples), atol=1e-4)


def test_an_aiff_with_a_damaged_rate(tmp_path):
    path = tmp_path / "talk.aiff"
    soundfile.write(path, np.zeros(16_000), 16_000)
    content = bytearray(path.read_bytes())
    place = content.find(b"COMM") + 16
    for exponent in (b"\x7f\xfe", b"\x7f\xff", b"\xff\xff", b"\x00\x00", b"\x43\xff"):
        content[place : place + 2] = exponent
        path.write_bytes(content)
        with suppress(AudioReadError), open_audio(path) as reader:
            list(reader.blocks(1000))


@pytest.mark.parametrize("size", [b"\x01\x7f" + b"\xff" * 6, b"\x00" + b"\xff" * 8, b"\xff", b"\x08\xff\xff\xff\xff"])
def test_a_matroska_file_whose_first_size_is_damaged(tmp_path, tone, encode_with_libav, size):
    path = tmp_path / "talk.mkv"
    encode_with_libav(path, "flac", tone)
    content = path.read_bytes()
    path.write_bytes(content[:4] + size + content[5:])
    with suppress(AudioReadError), open_audio(path) as reader:
        list(reader.blocks(1000))


def test_a_damaged_exponent_is_told_as_no_number(tmp_path):
    path = tmp_path / "talk.wav"
    samples = np.full(8000, 0.25, np.float32)
    samples[4000] = 1e19
    soundfile.write(path, samples, 8_000, "FLOAT")
    assert "holds 1 samples that are not numbers (NaN, infinite or beyond 4e+09)" in complaint(path)
    with open_audio(path, replace_nonfinite=True) as reader:
        assert np.concatenate(list(reader.blocks(1000)), axis=1)[0, 4000] == 0


@pytest.mark.parametrize("how", ["grown", "replaced", "rewritten"])
def test_a_file_that_becomes_another_is_refused(tmp_path, how):
    path, other = tmp_path / "talk.wav", tmp_path / "other.wav"
    soundfile.write(path, np.zeros(16_000), 8_000)
    soundfile.write(other, np.zeros(8_000), 8_000)
    reader = open_audio(path)
    facts = reader.facts()
    assert facts.bytes == path.stat().st_size
    assert facts.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    if how == "replaced":
        os.replace(other, path)
    else:
        with open(path, "ab" if how == "grown" else "r+b") as file:
            file.write(b"x" * 100)
        os.utime(path, ns=(1, 1))
    with pytest.raises(AudioReadError, match="was changed or replaced while it was read: run it again"):
        reader.reopen()
    if how == "replaced":
        assert reader.facts() == facts, "what was read is still what was opened"
    else:
        with pytest.raises(AudioReadError, match="was changed or replaced"):
            reader.verify()
    reader.close()


class Endless(io.RawIOBase):
    """What /dev/zero, or a device of noise, gives."""

    def __init__(self, block: bytes):
        self.block, self.given = block, 0

    def readable(self):
        return True

    def readinto(self, buffer):
        buffer[:] = (self.block * (len(buffer) // len(self.block) + 1))[: len(buffer)]
        self.given += len(buffer)
        return len(buffer)


@pytest.mark.parametrize("block", [b"\0", b"A line of text.\n", bytes(range(200))])
def test_a_stream_without_end_does_not_fill_the_disk(monkeypatch, block):
    monkeypatch.setattr(sources, "_MOST_UNKNOWN_BYTES", 4 << 20)
    stream = Endless(block)
    with pytest.raises(AudioReadError, match="gives more than 4 MiB, and does not begin as recordings do"):
        open_audio(stream)
    assert stream.given < 8 << 20


def test_streams_have_a_limit_though_they_begin_like_audio(monkeypatch):
    monkeypatch.setattr(sources, "_MOST_STREAMED_BYTES", 4 << 20)
    with pytest.raises(AudioReadError, match="gives more than 4 MiB:"):
        open_audio(Endless(b"RIFF\xff\xff\xff\x7fWAVEfmt "))


@pytest.mark.parametrize("suffix", ["wav", "flac", "ogg", "aiff", "au", "caf", "w64", "mp3"])
def test_what_begins_like_audio(tmp_path, suffix):
    path = tmp_path / f"talk.{suffix}"
    soundfile.write(path, np.sin(np.arange(16_000) / 9), 16_000)
    assert begins_like_audio(path.read_bytes()[:SNIFF_BYTES])
    assert begins_like_audio(b"\0" * 2000 + path.read_bytes()[:SNIFF_BYTES]) == (suffix == "mp3")


@pytest.mark.parametrize(
    ("name", "codec"), [("a.mkv", "flac"), ("a.m4a", "aac"), ("a.aac", "aac"), ("a.ts", "aac"), ("a.avi", "pcm_s16le")]
)
def test_what_begins_like_audio_of_libav(tmp_path, tone, encode_with_libav, name, codec):
    encode_with_libav(tmp_path / name, codec, tone)
    assert begins_like_audio((tmp_path / name).read_bytes()[:SNIFF_BYTES])


def test_rates_that_are_no_numbers():
    for rate in (None, "44100", float("nan"), float("inf"), 44100.5, True):
        with pytest.raises(UnbraidError, match="no whole number of Hz"):
            check_rate(rate, "the recording", AudioReadError)


def test_a_closed_file_object(tmp_path):
    path = tmp_path / "talk.wav"
    soundfile.write(path, np.zeros(8_000), 8_000)
    with open(path, "rb") as file:
        pass
    with pytest.raises(UnbraidError, match="cannot be read"):
        open_audio(file)


def test_a_container_whose_first_packet_cannot_be_found_holds_no_samples():
    data = b"FORM\0\0\x1fnAIFFCOMM\0\0\0\x12A\1\0\0\x0f\xa0\0\x10@\x0c\xfa\0\0\0\0\0\0\0SSNDH"
    assert "is damaged after 0.0 s" in complaint(data)
    assert "holds no samples" in complaint(data, allow_truncated=True)

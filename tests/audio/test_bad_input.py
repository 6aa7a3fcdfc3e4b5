"""Each kind of bad input gives one sentence that names the file and says what to do."""

from __future__ import annotations

import io
import os
import struct

import numpy as np
import pytest
import soundfile

from unbraid.audio.decode.headers import find_truncation
from unbraid.audio.reading import open_audio
from unbraid.errors import AudioReadError


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


def test_a_header_that_counts_itself_is_forgiven():
    data = io.BytesIO()
    soundfile.write(data, np.zeros((1_000, 1)), 8_000, format="WAV")
    header = bytearray(data.getvalue())
    at = header.find(b"data") + 4
    header[at : at + 4] = struct.pack("<I", 2_000 + 44)
    assert count(bytes(header)) == 1_000

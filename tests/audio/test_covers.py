"""Covers: found in what is read, and the same bytes in what is written, beside the same sound and tags."""

from __future__ import annotations

import base64
import io
import struct
import zlib
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile

from unbraid.audio.decode.cover import may_have_cover, read_cover
from unbraid.audio.encode.labels import WithInsertion, flac_picture_block, id3_tag
from unbraid.audio.encode.sound_tracks import Sound
from unbraid.audio.encode.video import write_with_sounds
from unbraid.audio.formats import LARGEST_COVER_BYTES, Cover, Encoding
from unbraid.audio.reading import open_audio
from unbraid.audio.sources import Source
from unbraid.audio.writing import AudioWriter

RATE = 16_000


def remainder(byte: int) -> int:
    """Of a byte and four that are zero, by the polynomial of Ogg's checksum."""
    value = byte << 24
    for _ in range(8):
        value = (value << 1 ^ (0x04C11DB7 if value >> 31 else 0)) & 0xFFFFFFFF
    return value


REMAINDERS = [remainder(byte) for byte in range(256)]
TAGS = {"title": "Größe", "artist": "Somebody", "date": "2024-05-01", "comment": "No. 7"}


def png(side: int = 4) -> bytes:
    """A square in one colour."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0))
    rows = zlib.compress((b"\0" + b"\x40\x80\xc0" * side) * side)
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def jpeg() -> bytes:
    codec = av.CodecContext.create("mjpeg", "w")
    codec.width, codec.height, codec.pix_fmt, codec.time_base = 16, 16, "yuvj420p", Fraction(1, 1)
    frame = av.VideoFrame.from_ndarray(np.full((16, 16, 3), 99, np.uint8), "rgb24").reformat(format="yuvj420p")
    frame.pts = 0
    return b"".join(bytes(packet) for packet in [*codec.encode(frame), *codec.encode(None)])


PNG, JPEG = Cover(kind="image/png", data=png()), Cover(kind="image/jpeg", data=jpeg())


def noise(num_channels: int = 2) -> np.ndarray:
    return (0.2 * np.random.default_rng(0).standard_normal((num_channels, 40_000))).clip(-0.9, 0.9).astype(np.float32)


def write(path: Path, cover: Cover | None, tags=TAGS, sample=None) -> Path:
    encoding = Encoding(container=path.suffix[1:], sample=sample)
    with AudioWriter(path, RATE, 2, encoding, tags=tags, cover=cover) as writer:
        for block in np.split(noise(), 4, axis=1):
            writer.write(block)
        writer.commit()
    return path


def heard(source) -> np.ndarray:
    with open_audio(source) as reader:
        return np.concatenate(list(reader.blocks(10_000)), axis=1)


@pytest.mark.parametrize("cover", [PNG, JPEG], ids=["png", "jpeg"])
@pytest.mark.parametrize(
    ("extension", "sample"),
    [("flac", "int24"), ("flac", "int16"), ("mp3", None), ("ogg", None), ("wav", "int16"), ("wav", "float32")],
)
def test_a_cover_comes_back_and_the_sound_is_the_same(tmp_path, extension, sample, cover):
    with_cover = write(tmp_path / f"with.{extension}", cover, sample=sample)
    without = write(tmp_path / f"without.{extension}", None, sample=sample)
    np.testing.assert_array_equal(heard(with_cover), heard(without))
    with open_audio(with_cover) as reader, open_audio(without) as plain:
        assert reader.cover() == cover
        assert plain.cover() is None
        assert dict(reader.info.tags) == dict(plain.info.tags) == TAGS
    # FFmpeg and libsndfile read the file as well, each in its own way.
    with av.open(str(with_cover)) as container:
        [picture] = container.streams.video
        assert picture.metadata["comment"] == "Cover (front)"
        tags = container.metadata | container.streams.audio[0].metadata  # Ogg has them in the stream
        assert {name.lower(): text for name, text in tags.items()}["title"] == TAGS["title"]
    assert soundfile.info(with_cover).frames == soundfile.info(without).frames


@pytest.mark.parametrize("size", [100, 48_000, 48_766, 300_000])
def test_a_cover_of_any_size_goes_into_ogg(tmp_path, size):
    """Over one page or many, even to the last segment of a page; the pages stay whole and in their order."""
    cover = Cover(kind="image/png", data=np.random.default_rng(size).bytes(size))
    file = write(tmp_path / "a.ogg", cover)
    data, numbers, position = file.read_bytes(), [], 0
    while position < len(data):
        table = data[position + 27 : position + 27 + data[position + 26]]
        length = 27 + len(table) + sum(table)
        page = data[position : position + length]
        checksum = 0
        for byte in page[:22] + bytes(4) + page[26:]:
            checksum = checksum << 8 & 0xFFFFFFFF ^ REMAINDERS[checksum >> 24 ^ byte]
        assert checksum == int.from_bytes(page[22:26], "little")
        numbers.append(int.from_bytes(page[18:22], "little"))
        position += length
    assert numbers == list(range(len(numbers)))
    block = base64.b64encode(flac_picture_block(cover)[4:])
    assert block in b"".join(_bodies(data))
    np.testing.assert_array_equal(heard(file), heard(write(tmp_path / "b.ogg", None)))
    assert data == write(tmp_path / "a.ogg", cover).read_bytes()


def _bodies(data: bytes):
    position = 0
    while position < len(data):
        table = data[position + 27 : position + 27 + data[position + 26]]
        begin = position + 27 + len(table)
        position = begin + sum(table)
        yield data[begin:position]


def test_a_file_of_stems_takes_the_cover_of_its_recording(tmp_path):
    """And with it an MP4 that has one is there to be read."""
    song = write(tmp_path / "song.flac", JPEG)
    file = io.BytesIO()
    with open_audio(song) as reader:
        write_with_sounds(file, "mp4", [Sound(reader=reader)], picture=Source(song), covers_only=True)
    with open_audio(file.getvalue()) as reader:
        assert reader.cover() == JPEG


def test_covers_of_other_formats_are_found(tmp_path):
    soundfile.write(tmp_path / "a.aiff", noise().T, RATE)
    aiff = (tmp_path / "a.aiff").read_bytes()
    tag = id3_tag({}, PNG)
    tag += bytes(len(tag) % 2)
    aiff += b"ID3 " + struct.pack(">I", len(tag)) + tag
    with open_audio(b"FORM" + struct.pack(">I", len(aiff) - 8) + aiff[8:]) as reader:
        assert reader.cover() == PNG
    flac = write(tmp_path / "b.flac", None).read_bytes()
    with open_audio(id3_tag({}, PNG) + flac) as reader:
        assert reader.cover() == PNG
    block = base64.b64encode(flac_picture_block(JPEG)[4:]).decode()
    soundfile.write(tmp_path / "c.wav", noise().T, RATE)
    with av.open(str(tmp_path / "c.ogg"), "w") as out, av.open(str(tmp_path / "c.wav")) as source:
        stream = out.add_stream("libopus", rate=48_000, layout="stereo")
        stream.metadata["METADATA_BLOCK_PICTURE"] = block
        for frame in source.decode(audio=0):
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    with open_audio(tmp_path / "c.ogg") as reader:
        assert reader.cover() == JPEG


def test_a_cover_that_is_none_is_no_fault(tmp_path):
    for extension in ("wav", "flac", "ogg"):
        assert not may_have_cover(Source(write(tmp_path / f"a.{extension}", None)))
    # A tag that says it holds one.
    broken = write(tmp_path / "b.wav", Cover(kind="image/png", data=b"no picture"))
    np.testing.assert_array_equal(heard(broken), heard(write(tmp_path / "c.wav", None)))
    assert read_cover(Source(write(tmp_path / "d.flac", Cover(kind="text/plain", data=b"x")))) is None
    assert len(flac_picture_block(Cover(kind="image/jpeg", data=bytes(LARGEST_COVER_BYTES)))) < 1 << 24


def test_an_insertion_is_invisible_to_who_writes():
    for parts in ([b"0123", b"4567"], [b"0123456", b"7"], [b"01", b"2", b"34567"]):
        file = io.BytesIO()
        inner = WithInsertion(file, 3, b"abc")
        for part in parts:
            inner.write(part)
        assert (file.getvalue(), inner.tell(), inner.seek(0, 2)) == (b"012abc34567", 8, 8)
        inner.seek(1)
        inner.write(b"XXXX")
        assert (file.getvalue(), inner.read(2)) == (b"0XXabcXX567", b"56")
        inner.seek(-1, 2)
        assert inner.read(1) == b"7"

"""Raw PCM and WAV from a pipe: every format both ways, bytes in pieces, and headers that are damaged."""

import io
import struct

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from unbraid.audio.encode.wav import WavSink
from unbraid.audio.formats import Encoding
from unbraid.audio.pcm import decode_pcm, encode_pcm
from unbraid.audio.pcm_stream import PcmDecoder, PcmFormat, read_wav_start
from unbraid.errors import AudioReadError, ConfigError

STEPS = {"int16": 2**-15, "int24": 2**-23, "int32": 2**-23, "float32": 0, "float64": 0}
BLOCK = np.array([[0.0, 0.5, -1.0, 0.25], [0.125, -0.5, 0.75, 1e-3]], np.float32)


@pytest.mark.parametrize("sample", STEPS)
def test_a_block_comes_back_from_its_bytes(sample):
    found = decode_pcm(encode_pcm(BLOCK, sample), sample, 2)
    np.testing.assert_allclose(found, BLOCK, atol=STEPS[sample])


@given(sizes=st.lists(st.integers(0, 9), max_size=12))
def test_bytes_in_pieces_are_the_same_samples(sizes):
    data = encode_pcm(BLOCK, "int24")
    decoder, parts, place = PcmDecoder(PcmFormat(sample="int24", num_channels=2)), [], 0
    for size in [*sizes, len(data)]:
        parts.append(decoder.push(data[place : place + size]))
        place += size
    np.testing.assert_array_equal(np.concatenate(parts, axis=1), decode_pcm(data, "int24", 2))
    assert decoder.rest_bytes == 0


def test_bytes_of_a_frame_that_is_cut_are_left_over():
    decoder = PcmDecoder(PcmFormat(num_channels=2))
    assert decoder.push(bytes(7)).shape == (2, 1)
    assert decoder.rest_bytes == 3


@pytest.mark.parametrize(("sample", "subtype"), [("int16", "PCM_16"), ("int24", "PCM_24"), ("float32", "FLOAT")])
@pytest.mark.parametrize("kind", ["WAV", "WAVEX"])
def test_a_wav_header_is_read_to_its_first_sample(sample, subtype, kind):
    file = io.BytesIO()
    soundfile.write(file, BLOCK.T, 22050, subtype=subtype, format=kind)
    file.seek(0)
    form, promised = read_wav_start(file.read, "standard input")
    assert form == PcmFormat(sample=sample, sample_rate=22050, num_channels=2)
    decoder = PcmDecoder(form, promised)
    # What follows the samples is no sound.
    np.testing.assert_allclose(decoder.push(file.read() + b"LIST tags"), BLOCK, atol=STEPS[sample])
    assert decoder.missing_bytes == decoder.rest_bytes == 0


def test_a_header_without_a_length_promises_nothing():
    file = io.BytesIO()
    WavSink(file, 16000, 1, Encoding(sample="int16"), streamed=True).write(BLOCK[:1])
    file.seek(0)
    assert read_wav_start(file.read, "standard input")[1] is None


def chunk(name, content):
    return name + struct.pack("<I", len(content)) + content


START = b"RIFF" + bytes(4) + b"WAVE"


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "is empty"),
        (b"ID3 this is no WAV", "does not begin as WAV"),
        (START + b"fm", "ends within its WAV header"),
        (START + chunk(b"fmt ", b"short"), "damaged"),
        (START + chunk(b"data", b"ab"), "before their format"),
        (START + chunk(b"fmt ", struct.pack("<HHIIHH", 1, 1, 16000, 0, 1, 8)), "8 bits"),
        (START + chunk(b"fmt ", struct.pack("<HHIIHH", 1, 1, 0, 0, 2, 16)), "sample rate of 0 Hz"),
        (START + chunk(b"fmt ", struct.pack("<HHIIHH", 1, 0, 16000, 0, 2, 16)), "no channels"),
        (START + b"junk" + struct.pack("<I", 2**31), "more than 1 MiB"),
    ],
)
def test_headers_that_are_wrong_end_in_one_sentence(data, said):
    with pytest.raises(AudioReadError, match=said):
        read_wav_start(io.BytesIO(data).read, "standard input")


def test_formats_are_checked():
    with pytest.raises(ConfigError, match="at least one"):
        PcmFormat(num_channels=0)


@pytest.mark.parametrize("sample", ["int16", "int24", "int32"])
def test_rounding_in_float32_is_that_in_float64(sample):
    """Ties, what is beyond full scale, and everything between."""
    half = 0.5 / 2 ** (15 if sample == "int16" else 23)
    block = np.random.default_rng(0).uniform(-1.2, 1.2, (2, 5000)).astype(np.float32)
    block[0, :6] = half, -half, 3 * half, 1.0, -1.0, 1.0 - half
    assert encode_pcm(block, sample) == encode_pcm(block.astype(np.float64), sample)

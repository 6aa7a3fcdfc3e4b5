from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pytest


@pytest.fixture
def noise() -> np.ndarray:
    """Two channels, 1.3 s at 44.1 kHz, an odd number of samples, below full scale."""
    return (np.random.default_rng(0).uniform(-0.5, 0.5, (2, 57_331))).astype(np.float32)


@pytest.fixture
def tone() -> np.ndarray:
    """A second of 440 Hz and 660 Hz at 48 kHz, which codecs keep well."""
    time = np.arange(48_000) / 48_000
    return np.stack([0.4 * np.sin(2 * np.pi * 440 * time), 0.3 * np.sin(2 * np.pi * 660 * time)]).astype(np.float32)


@pytest.fixture
def encode_with_libav() -> Callable[..., Path]:
    def encode(
        path: Path,
        codec: str | None,
        samples: np.ndarray | None = None,
        *,
        rate: int = 48_000,
        sample_format: str = "fltp",
        video: bool = False,
        options: dict[str, str] | None = None,
    ) -> Path:
        with av.open(str(path), "w", options=options or {}) as container:
            picture = container.add_stream("mpeg4", rate=10) if video else None
            if picture is not None:
                picture.width, picture.height, picture.pix_fmt = 32, 32, "yuv420p"
            if codec is not None:
                stream = container.add_stream(codec, rate=rate)
                stream.bit_rate = 256_000
                stream.layout = "stereo" if samples.shape[0] == 2 else "mono"
            if picture is not None:
                for _ in range(10):
                    frame = av.VideoFrame.from_ndarray(np.zeros((32, 32, 3), np.uint8), format="rgb24")
                    container.mux(picture.encode(frame))
                container.mux(picture.encode(None))
            if codec is not None:
                size = stream.codec_context.frame_size or 1024
                for start in range(0, samples.shape[1], size):
                    block = samples[:, start : start + size]
                    if sample_format.startswith("s16"):
                        block = np.rint(block * 32768).astype(np.int16)
                    elif sample_format.startswith("s32"):
                        block = np.rint(block * 2.0**31).astype(np.int32)
                    if not sample_format.endswith("p"):
                        block = block.T.reshape(1, -1)
                    frame = av.AudioFrame.from_ndarray(
                        np.ascontiguousarray(block), format=sample_format, layout=stream.layout.name
                    )
                    frame.sample_rate, frame.pts = rate, start
                    container.mux(stream.encode(frame))
                container.mux(stream.encode(None))
        return path

    return encode

"""Pictures as PNG files in memory."""

from __future__ import annotations

import io
import struct
import zlib
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_NUM_LEVELS = 64


def png_bytes(figure: Figure, *, rare_colours: bool = False) -> bytes:
    """A picture with a palette, which the eye does not notice and which makes the file a third as large.

    `rare_colours` spends the palette on all colours alike, not on the most frequent ones: for several scales in one
    picture.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from PIL import Image

    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    picture = Image.fromarray(np.asarray(canvas.buffer_rgba())[..., :3].copy())
    packed = io.BytesIO()
    method = Image.Quantize.MAXCOVERAGE if rare_colours else Image.Quantize.MEDIANCUT
    colours = 256 if rare_colours else 2 * _NUM_LEVELS
    picture.quantize(colours, method, dither=Image.Dither.NONE).save(packed, "png", optimize=True)
    return packed.getvalue()


def grey_png(pixels: np.ndarray) -> bytes:
    """A picture of uint8 (row, column) from black to white, without any package for pictures."""
    height, width = pixels.shape
    # Each row begins with the number of its filter: 2, the difference from the row above.
    above = np.vstack([np.zeros((1, width), np.uint8), pixels[:-1]])
    rows = np.hstack([np.full((height, 1), 2, np.uint8), pixels - above])
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    parts = {b"IHDR": header, b"IDAT": zlib.compress(rows.tobytes(), 9), b"IEND": b""}
    chunks = [
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in parts.items()
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)

"""The legend of axis names, and the tensor types that public signatures use.

| axis | what it counts |
|---|---|
| batch | independent examples |
| source | what is separated: speakers, stems |
| channel | audio channels of a recording (1 mono, 2 stereo) |
| sample | waveform samples |
| frame | time steps of an encoder or of an STFT |
| freq | STFT bins, 0 Hz first |
| band | groups of bins |
| part | real and imaginary part, always size 2 |
| dim | feature dimension |
| head | attention heads |
| chunk | pieces that a long recording is cut into |
| state | states of a state-space model |

A signature reads `Float[Tensor, "batch channel sample"]`; the test run checks it through jaxtyping and beartype.
"""

from jaxtyping import Bool, Complex, Float, Int
from torch import Tensor

__all__ = ["Bool", "Complex", "Float", "Int", "Tensor"]

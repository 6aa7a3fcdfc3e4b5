"""How a recording is separated, as one value that the command line, Python, an evaluation and a record share."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Annotated, Any, Literal

from unbraid.audio.passage import Passage
from unbraid.audio.pcm_stream import PcmFormat
from unbraid.errors import ConfigError
from unbraid.models.contract import Refinement
from unbraid.options import (
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    Range,
    check_options,
    is_number,
)
from unbraid.signal.chunking import MOST_OVERLAP, Join

Consistency = Literal["none", "residual", "distribute"]
OtherMethod = Literal["none", "add", "minus"]
Tracking = Literal["recording", "online"]
Backend = Literal["torch", "onnxruntime"]
Precision = Literal["auto", "float32", "bfloat16"]
Segment = Annotated[float, Range(at_least=0.1)] | Literal["whole"]

MOST_GAIN_DB = 40.0
"""ours: what is asked for beyond this is a slip of the hand, and hurts ears."""


@dataclass(frozen=True, kw_only=True)
class SeparationConfig:
    """Everything, beside model and recording, that decides what stems come out; every field is checked."""

    segment_seconds: Segment | None = None
    """Length of chunks; None: what the model's spec advises. "whole" takes a recording in one piece, as papers do with
    short mixtures: nothing is joined, and memory grows with the recording."""

    overlap: Annotated[float, Range(at_least=0.0, at_most=MOST_OVERLAP)] | None = None
    """Fraction of a chunk that neighbours share; None: a quarter with `fade`, half with the other ways of joining. Work
    grows as 1 / (1 - overlap)."""

    join: Join = "fade"
    """`fade` leaves no seam; papers report figures with `average`, the plain mean of what two chunks share, or with
    `centre`, where each chunk gives what is nearer to its middle."""

    input_level: Literal["as-given", "normalised"] | None = None
    """What is done to the level of the input, as a protocol of a paper fixes it: nothing, or every chunk is scaled by
    its own RMS. None: what the model's spec says, which stays where that is by the whole file."""

    batch_size: PositiveInt | None = None
    """Chunks per call of the model; None: 1 on a CPU and 8 elsewhere. Always 1 where `deterministic`."""

    shifts: PositiveInt = 1
    """Average over so many passes, each shifted in time by a seeded amount, every second one upside down, and of stereo
    two of four with the channels swapped."""

    seed: NonNegativeInt = 0
    """Of the shifts."""

    deterministic: bool = False
    """Stems whose bytes depend on neither the number of threads nor the batch size, nor on what memory is free: one
    thread, one chunk at a time, and only operations that torch calls deterministic."""

    consistency: Consistency = "none"
    """`distribute` spreads what is missing evenly over the estimates so that they add up to the mixture; `residual`
    gives it out as a stem of its own."""

    refine: Refinement | None = None
    """`wiener` shares out the mixture by the powers of the estimates, bin by bin, so that they add up to it; None: what
    the model's spec advises."""

    refine_from_hz: NonNegativeFloat | None = None
    """Below this frequency estimates stay as they are; None: what the spec advises."""

    two_stems: str | None = None
    """This source and one stem with all the rest."""

    other_method: OtherMethod = "add"
    """The rest is the sum of the other estimates (`add`, stem `no_X`), the mixture minus X (`minus`, stem `minus_X`),
    or left out (`none`)."""

    remix: Mapping[str, float] | None = None
    """By source, a gain in dB, -inf to take it out: one more stem, `remix`, is the mixture with these sources so much
    louder or softer. Where every gain is 0 dB it is the mixture itself, whatever the model missed."""

    tracking: Tracking = "recording"
    """Sort speakers over the whole recording, or with what has been heard so far, which gives blocks out at once."""

    allow_truncated: bool = False
    """A recording that ends too early gives what it holds, and one that is damaged is silent there, instead of an
    error."""

    replace_nonfinite: bool = False
    """Samples that are NaN or infinite become zero instead of an error."""

    track: str | None = None
    """The sound track of a video, by number (from 1) or language; None: the one that is flagged as default, else the
    first."""

    raw: PcmFormat | None = None
    """What the samples of files without a header are; None: every file says what it is."""

    start_seconds: NonNegativeFloat | None = None
    """Separate the recording from there on; what is before is not read."""

    duration_seconds: PositiveFloat | None = None
    """Separate so much of the recording."""

    preview_seconds: PositiveFloat | None = None
    """Separate so much from the middle of the recording, to hear what comes of it."""

    backend: Backend = "torch"
    """What runs the model. onnxruntime takes models by name or file, on CPUs, and exports them at their first use."""

    precision: Precision = "float32"
    """What products are computed in; STFT, S4, norms and scans are in float32. `auto` takes bfloat16 on GPUs of
    NVIDIA that have it, and float32 elsewhere; what that costs in quality has not been measured on a GPU yet."""

    compile: bool = False
    """Compile the model with torch.compile: the first chunk waits for it, and long recordings win by it."""

    def __post_init__(self) -> None:
        check_options(self)
        if self.backend == "onnxruntime" and (self.precision == "bfloat16" or self.compile):
            raise ConfigError(
                "onnxruntime runs a model as its file has it, without bfloat16 and torch.compile",
                remedy='choose `backend="torch"`',
            )
        if self.preview_seconds is not None and (self.start_seconds, self.duration_seconds) != (None, None):
            raise ConfigError(
                "is a passage already",
                subject="`preview_seconds`",
                remedy="leave `start_seconds` and `duration_seconds` out",
            )
        if self.deterministic and self.backend != "torch":
            raise ConfigError("is torch's alone", subject="`deterministic`", remedy='choose `backend="torch"`')
        if self.segment_seconds == "whole" and self.overlap is not None:
            raise ConfigError(
                "a recording in one piece has no overlap", remedy="choose either `overlap` or whole segments"
            )
        remix = None if self.remix is None else dict(self.remix)
        object.__setattr__(self, "remix", remix)
        for name, gain_db in (remix or {}).items():
            if not is_number(gain_db) or math.isnan(gain_db) or gain_db > MOST_GAIN_DB:
                raise ConfigError(
                    f"`remix`: the gain of {name} is a number of at most {MOST_GAIN_DB:g} dB, not {gain_db}"
                )

    @property
    def passage(self) -> Passage | None:
        """The part of a recording that is separated; None for the whole."""
        if self.preview_seconds is not None:
            return Passage(duration_seconds=self.preview_seconds, from_middle=True)
        if (self.start_seconds, self.duration_seconds) == (None, None):
            return None
        return Passage(start_seconds=self.start_seconds or 0.0, duration_seconds=self.duration_seconds)

    @property
    def passage_name(self) -> str:
        """What tells the stems of a passage from those of the whole, as in "talk (10-40 s)"; empty for the whole."""
        if self.preview_seconds is not None:
            return f"preview {self.preview_seconds:g} s"
        if self.passage is None:
            return ""
        start = self.start_seconds or 0.0
        return (
            f"from {start:g} s" if self.duration_seconds is None else f"{start:g}-{start + self.duration_seconds:g} s"
        )

    @property
    def gains(self) -> Mapping[str, float]:
        """`remix`, empty where there is none."""
        return self.remix or {}

    @classmethod
    def of(cls, settings: Mapping[str, Any]) -> SeparationConfig:
        """From settings by their names; a name that is none is answered with those that are."""
        known = [field.name for field in fields(cls)]
        for name in settings:
            if name not in known:
                raise ConfigError(f"there is no setting '{name}' of separation; there are: {', '.join(known)}")
        return cls(**settings)

    def changed(self) -> dict[str, Any]:
        """The settings that are not the default."""
        default = SeparationConfig()
        names = (field.name for field in fields(self))
        return {name: getattr(self, name) for name in names if getattr(self, name) != getattr(default, name)}

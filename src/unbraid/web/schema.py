"""What goes over the wire, each as a model that the OpenAPI description shows."""

from __future__ import annotations

import math
from dataclasses import fields
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from unbraid.audio.formats import Container, SampleFormat
from unbraid.models.contract import Refinement
from unbraid.output.config import ClipMode, OutputConfig
from unbraid.separation.config import MOST_GAIN_DB, Consistency, OtherMethod, SeparationConfig, Tracking
from unbraid.separation.stems import parse_remix
from unbraid.signal.chunking import MOST_OVERLAP, Join
from unbraid.web.store import State


class SeparationOptions(BaseModel):
    """The settings of `unbraid separate` that a visitor may choose; memory and paths are the server's own."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)

    model: str
    """A name out of `/api/models`, or several as one as on the command line ("a+b"); `auto` listens first."""
    segment_seconds: Annotated[float, Field(ge=0.5, le=60)] | None = None
    """Length of chunks; by default the model's own."""
    overlap: Annotated[float, Field(ge=0, le=MOST_OVERLAP)] | None = None
    """Fraction that chunks share."""
    join: Join = "fade"
    """How chunks are joined."""
    shifts: Annotated[int, Field(ge=1, le=10)] = 1
    """Average over so many passes: slower, a little better."""
    seed: Annotated[int, Field(ge=0)] = 0
    """Of the shifts."""
    consistency: Consistency = "none"
    """Make the stems add up to the recording: what is missing as a stem of its own, or spread over all."""
    refine: Refinement | None = None
    """Share out the recording by the powers of the estimates; by default as the model wants it."""
    refine_from_hz: Annotated[float, Field(ge=0)] | None = None
    """Below this frequency estimates stay as they are."""
    two_stems: str | None = None
    """This stem, and one of all the rest."""
    other_method: OtherMethod = "add"
    """What the rest is: the other stems added up, the recording minus the stem, or left out."""
    remix: dict[str, Annotated[float, Field(le=MOST_GAIN_DB, allow_inf_nan=False)] | None] | None = None
    """Gains in dB by source, null for off, or in a form field as in `dialogue=+6,music=off`: one more stem, `remix`."""
    tracking: Tracking = "recording"
    """Sort speakers over the whole recording, or with what has been heard so far."""
    allow_truncated: bool = False
    """Take what there is of a file that ends too early."""
    replace_nonfinite: bool = False
    """Samples that are no numbers become zero."""
    container: Container = "wav"
    """Format of the stems."""
    sample: SampleFormat | None = None
    """How a sample is stored; by default as in the recording."""
    bitrate_kbps: int = 320
    """Of MP3."""
    clip_mode: ClipMode = "rescale"
    """Where a stem exceeds full scale: turn all stems down alike, or cut its peaks off."""
    stems: list[str] | None = None
    """Write only these."""

    @field_validator("remix", mode="before")
    @classmethod
    def _written_out(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        # JSON has no infinity.
        return {name: None if gain == -math.inf else gain for name, gain in parse_remix([value]).items()}

    @field_validator("stems", mode="before")
    @classmethod
    def _listed(cls, value: object) -> object:
        return [part.strip() for part in value.split(",")] if isinstance(value, str) else value

    @property
    def separation(self) -> SeparationConfig:
        values: dict[str, Any] = self._fields_of(SeparationConfig)
        if values["remix"] is not None:
            values["remix"] = {name: -math.inf if gain is None else gain for name, gain in values["remix"].items()}
        return SeparationConfig(**values)

    @property
    def output(self) -> OutputConfig:
        values: dict[str, Any] = self._fields_of(OutputConfig)
        if values["stems"] is not None:
            values["stems"] = tuple(values["stems"])
        return OutputConfig(**values, filename="{stem}.{ext}")

    def _fields_of(self, config: type[SeparationConfig] | type[OutputConfig]) -> dict[str, Any]:
        """Those of a config that a visitor may choose."""
        names = [field.name for field in fields(config)]
        return {name: getattr(self, name) for name in names if name in type(self).model_fields}


class AgainRequest(BaseModel):
    """The same recording, or one of its stems, with other settings."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)

    stem: str | None = None
    """To be separated further; by default the recording is separated anew."""
    options: SeparationOptions


ModelState = Literal["bundled", "downloaded", "downloading", "can be downloaded"]


class Model(BaseModel):
    """A model that can be chosen, or downloaded first."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    name: str
    title: str
    state: ModelState
    """Recordings go to those that are bundled or downloaded."""
    sources: list[str]
    sample_rate: int
    """Hz; stems hold nothing above half of it."""
    num_channels: int
    task: Literal["speech", "music", "film"] | None = None
    """What a published model is for."""
    size_mb: int | None = None
    """Of the download, where that is known beforehand."""
    licence: str | None = None
    """Of a published model's weights; null where its authors state none."""
    credits: str | None = None
    """Whose a published model is."""
    score: str | None = None
    """As it was published, by whom and on what."""
    missing: str | None = None
    """What has to be installed before it can be used, in a sentence."""
    progress: float | None = None
    """Of a download, from 0 to 1."""
    message: str | None = None
    """Why the last download failed."""


class DownloadRequest(BaseModel):
    """What a visitor has agreed to."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)

    agreed: bool = False
    """To the use of weights whose authors state no licence, which you may only have a right to by other ways."""


class Limits(BaseModel):
    """What the server takes."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    upload_bytes: int
    seconds: float
    """Of audio in one recording."""
    queued: int
    keep_hours: float
    """How long results are kept."""


class Server(BaseModel):
    """What the page has to know before anything else."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    version: str
    devices: list[str]
    downloads: bool
    """Whether it downloads models for visitors who ask for them."""
    limits: Limits
    models: list[Model]


class StemFile(BaseModel):
    """One stem that can be downloaded."""

    name: str
    bytes: int
    url: str


class Separation(BaseModel):
    """One recording and how far it is."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    id: str
    """Unguessable; whoever knows it may see the results."""
    name: str
    model: str
    options: SeparationOptions
    state: State
    created: float
    """Seconds since 1970."""
    started: float | None = None
    ended: float | None = None
    seconds: float | None = None
    """Of audio, where known."""
    position: int | None = None
    """In the queue, from 1."""
    progress: float = 0.0
    """From 0 to 1."""
    seconds_left: float | None = None
    """Wall time, where it can be told."""
    message: str | None = None
    """Why it failed."""
    remarks: list[str] = []
    """What should be known before the stems are used."""
    stems: list[StemFile] = []
    expires: float | None = None
    """When it will be removed, in seconds since 1970."""


class PlayerTracks(BaseModel):
    """What the player plays: the mixture first, then the stems."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    names: list[str]
    sample_rate: int
    num_channels: int
    num_samples: int
    """Per channel."""
    full_scale: float
    """What the largest int16 of `samples` stands for."""


class RemixRequest(BaseModel):
    """Stems at gains of your own, added up."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)

    gains_db: dict[str, Annotated[float, Field(le=MOST_GAIN_DB)] | None]
    """By stem; null, and a stem that is not named, leaves it out."""
    container: Container = "wav"
    sample: SampleFormat | None = None
    bitrate_kbps: int = 320


class Login(BaseModel):
    token: str


class Problem(BaseModel):
    """What is wrong and what to do about it, in one sentence."""

    detail: str

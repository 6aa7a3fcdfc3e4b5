"""How papers come to their figures, one value each: what is measured, how tracks come together, how a model is run.

A number means what the paper's number means only if all of that is the same; two protocols give two numbers for one
model. The names of the columns are the papers'; what stands behind them is a measure of `measures`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

from unbraid.errors import ConfigError, UnknownNameError
from unbraid.evaluation.measures import MEASURES, Measure
from unbraid.evaluation.tracks import TrackList
from unbraid.separation.config import SeparationConfig

Overall = Literal["mean", "median"]


@dataclass(frozen=True, kw_only=True)
class Column:
    """One figure of a paper's table."""

    name: str
    """As the paper has it."""
    measure: str
    """What it is, by the name in `measures`."""
    over_tracks: Overall = "mean"


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """One way to a table: all that has an influence on its figures beside model and data."""

    name: str
    figures: str
    """Whose figures these are."""
    columns: tuple[Column, ...]
    """The first ranks tracks. Of stems, the table's average is the mean of the stems' figures."""
    separation: SeparationConfig
    """How a model is run. What is not said here (`overlap` of whole recordings) has no influence."""
    stored_bits: Literal[24] | None = None
    """A model's estimates are rounded to integers of so many bits before they are scored, as files of them would be."""
    exchangeable: bool = False
    """Speakers, or stems."""
    sample_rate: int
    """Hz, of the references."""

    @property
    def measures(self) -> tuple[Measure, ...]:
        return tuple(dict.fromkeys(MEASURES[column.measure] for column in self.columns))

    @property
    def settings(self) -> dict[str, Any]:
        """What a Separator is to be told beside the model, and beside that a track goes through it whole."""
        settings = self.separation.changed()
        if self.whole:
            del settings["segment_seconds"]
        return settings

    @property
    def whole(self) -> bool:
        """Whether each track goes through the model in one call."""
        return self.separation.segment_seconds == "whole"

    def check(self, tracks: TrackList) -> None:
        """Raises ConfigError for tracks that no such figure can be of."""
        if tracks.exchangeable != self.exchangeable:
            wanted, found = ("speakers", "stems") if self.exchangeable else ("stems", "speakers")
            raise ConfigError(f"the protocol {self.name} is for {wanted}, and {tracks.name} holds {found}")

    def doubt(self, tracks: TrackList) -> str | None:
        """Why figures of these tracks are not to be set beside the paper's: they are of another rate."""
        rates = sorted({track.sample_rate for track in tracks.tracks} - {self.sample_rate})
        if not rates:
            return None
        return (
            f"figures by the protocol {self.name} are of references at {self.sample_rate} Hz, and those of "
            f"{tracks.name} have {', '.join(map(str, rates))} Hz: they are not to be set beside the paper's"
        )

    def sentences(self, *, from_folder: bool) -> list[str]:
        """What it fixes, for a reader; of a folder, what its files should have come from."""
        columns = "; ".join(
            f"{column.name} is {column.measure} ({MEASURES[column.measure].meaning}), {column.over_tracks} over tracks"
            for column in self.columns
        )
        average = " The average is the mean of the stems' figures." if not self.exchangeable else ""
        stored = f", rounded to {self.stored_bits} bits" if self.stored_bits else ""
        level = {
            "normalised": "every chunk scaled by its own RMS, as in the authors' network",
            "as-given": "as loud as they are, as the authors' network gets them",
            None: "at the level that the model's spec says, since no paper fixes it",
        }[self.separation.input_level]
        who = "The estimates in the folder should come from" if from_folder else "The model is run on"
        return [
            f"Protocol {self.name}, for {self.figures}: {columns}.{average}",
            f"{who} {_spoken(self.separation)}, {level}{stored}; a model that scales whole files goes on doing so, "
            "and no estimate is scaled to its reference.",
        ]

    def facts(self) -> dict[str, Any]:
        """As it stands in a file of scores."""
        return {
            "name": self.name,
            "columns": [asdict(column) for column in self.columns],
            "separation": self.separation.changed(),
            "stored_bits": self.stored_bits,
            "level": self.separation.input_level,
            "sample_rate": self.sample_rate,
        }


def find_protocol(name: str) -> Protocol:
    """By its name."""
    if name not in PROTOCOLS:
        raise UnknownNameError(f"there is no protocol '{name}'", remedy=f"choose from {', '.join(PROTOCOLS)}")
    return PROTOCOLS[name]


def columns_of(facts: Mapping[str, Any]) -> tuple[Column, ...]:
    """From what a file of scores says of its protocol, empty where there is none."""
    return tuple(Column(**column) for column in facts.get("columns", ()))


def _spoken(config: SeparationConfig) -> str:
    if config.segment_seconds == "whole":
        return "whole recordings"
    if config.segment_seconds is None:
        return "chunks as `separate` takes them"
    shift = config.segment_seconds * (1 - (config.overlap or 0))
    joined = {
        "fade": "faded",
        "average": "what two share averaged",
        "centre": "of each what is nearest to its middle",
    }
    return f"chunks of {config.segment_seconds:g} s every {shift:g} s, {joined[config.join]}"


_WHOLE = SeparationConfig(segment_seconds="whole", input_level="as-given")
_TWELVE = SeparationConfig(segment_seconds=12.0, overlap=0.5, join="average", input_level="normalised")

PROTOCOLS = {
    protocol.name: protocol
    for protocol in (
        Protocol(
            name="sfc-musdb",
            figures="SFC on MUSDB18-HQ",
            columns=(
                Column(name="cSDR", measure="cSDR-joint", over_tracks="median"),
                Column(name="uSDR", measure="uSDR-ch"),
            ),
            separation=_TWELVE,
            stored_bits=24,
            sample_rate=44_100,
        ),
        Protocol(
            name="sfc-dnr",
            figures="SFC on Divide and Remaster; whether its SI-SDR is the median or the mean, the paper does not say",
            columns=(
                Column(name="SNR", measure="uSDR-ch"),
                Column(name="SI-SDR", measure="SI-SDR-dnr", over_tracks="median"),
            ),
            separation=_TWELVE,
            stored_bits=24,
            sample_rate=44_100,
        ),
        Protocol(
            name="bytesep",
            figures="ResUNetDecouple+ and its relatives on MUSDB18: museval, each source on its own",
            columns=(Column(name="SDR", measure="cSDR", over_tracks="median"),),
            separation=SeparationConfig(segment_seconds=30.0, overlap=0.5, join="centre", input_level="as-given"),
            sample_rate=44_100,
        ),
        Protocol(
            name="museval",
            figures="SiSEC and papers on MUSDB18 that name museval: all stems in one call",
            columns=(
                Column(name="SDR", measure="cSDR-joint", over_tracks="median"),
                Column(name="ISR", measure="ISR", over_tracks="median"),
                Column(name="SIR", measure="SIR", over_tracks="median"),
                Column(name="SAR", measure="SAR", over_tracks="median"),
            ),
            separation=SeparationConfig(),
            sample_rate=44_100,
        ),
        Protocol(
            name="wsj0",
            figures="SepFormer, SFSRNet and S4M on WSJ0-2mix, min, 8 kHz",
            columns=(Column(name="SI-SNRi", measure="SI-SDRi"), Column(name="SDRi", measure="SDRi")),
            separation=_WHOLE,
            exchangeable=True,
            sample_rate=8000,
        ),
        Protocol(
            name="librimix",
            figures="SFSRNet and S4M on Libri2Mix, min, 8 kHz",
            columns=(Column(name="SI-SDRi", measure="SI-SDRi"), Column(name="SDRi", measure="SDRi")),
            separation=_WHOLE,
            exchangeable=True,
            sample_rate=8000,
        ),
        Protocol(
            name="lrs2",
            figures="TDANet and S4M on LRS2-2Mix, 16 kHz",
            columns=(Column(name="SI-SNRi", measure="SI-SDRi"), Column(name="SDRi", measure="SDRi")),
            separation=_WHOLE,
            exchangeable=True,
            sample_rate=16_000,
        ),
    )
}
"""Every protocol by its name."""

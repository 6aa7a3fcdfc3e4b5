"""What a page shows of one track: mixture, references, estimates and errors to see and hear, and what they score."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from unbraid.audio.recording import Recording
from unbraid.errors import ConfigError
from unbraid.evaluation.report.page import Codec, Role, common_gain, decibels, escape, figure, player
from unbraid.evaluation.scores import TrackScore


@dataclass(frozen=True, eq=False, kw_only=True)
class Passage:
    """A stretch of a separated track, or all of it, beside the scores of the whole."""

    score: TrackScore
    mixture: Recording
    references: Mapping[str, Recording]
    """By source; the same rate, channels and length as the mixture."""
    estimates: Mapping[str, Recording]
    """By the source that they were scored with."""
    start_seconds: float = 0.0
    """Where it begins in the track."""
    note: str = ""
    """Where the sounds are from; line breaks are kept."""
    codec: Codec = "flac"
    """How the page holds the sounds."""

    def __post_init__(self) -> None:
        if set(self.references) != set(self.estimates):
            raise ConfigError(
                "has references and estimates of different names",
                subject=f"'{self.score.name}'",
                remedy="give each of both",
            )


def passage_section(passage: Passage, measures: Sequence[str]) -> str:
    """A section of a page; all its sounds have one gain."""
    sounds: list[tuple[Role, str, str, Recording]] = [("mixture", "mixture", "all sources together", passage.mixture)]
    for target in passage.score.targets:
        name = target.source
        reference, estimate = passage.references[name], passage.estimates[name]
        error = Recording(estimate.samples - reference.samples, reference.sample_rate)
        told = "" if target.estimate == name else f" (called {target.estimate} there)"
        sounds.extend(
            (
                ("stem", name, f"{name} as it was separated{told}", estimate),
                ("reference", name, f"{name} alone", reference),
                ("error", name, f"estimate minus reference of {name}", error),
            )
        )
    gain = common_gain([sound for *_, sound in sounds])
    figures = [figure(role, name, what, sound, gain, passage.codec) for role, name, what, sound in sounds]
    note = "<br>".join(escape(line) for line in (*_facts(passage), *passage.note.strip().splitlines()))
    return f"""<section>
<h3>{escape(passage.score.name)}</h3>
<p class="note">{note}</p>
<div class="wide">
{_table(passage.score, measures)}
</div>
{player(passage.score.name, figures, passage.mixture, passage.codec)}
</section>"""


def _facts(passage: Passage) -> list[str]:
    """Which stretch of what it is, and how long the separation took."""
    score, sound = passage.score, passage.mixture
    if sound.seconds < score.seconds - 0.05:
        end = passage.start_seconds + sound.seconds
        where = f"{passage.start_seconds:.1f} s to {end:.1f} s of {score.seconds:.1f} s, where the error is greatest"
    else:
        where = f"{score.seconds:.1f} s"
    where += f", at {sound.sample_rate / 1000:g} kHz"
    if score.model_seconds:
        where += f", separated in {score.model_seconds:.2f} s"
    labels = ", ".join(f"{name} {value}" for name, value in score.labels.items() if value != score.name)
    return [where, labels] if labels else [where]


def _table(score: TrackScore, measures: Sequence[str]) -> str:
    head = "".join(f'<th scope="col">{escape(name)}</th>' for name in measures)
    rows = [(one.source, [one.metrics.get(name, math.nan) for name in measures]) for one in score.targets]
    if len(rows) > 1:
        rows.append(("mean", [score.value(name) for name in measures]))
    body = "\n".join(
        f'<tr><th scope="row">{escape(name)}</th>'
        + "".join(
            f"<td>{decibels(value, signed=measure.endswith('i'), digits=2)}</td>"
            for measure, value in zip(measures, values, strict=True)
        )
        + "</tr>"
        for name, values in rows
    )
    return f"""<table>
<caption>Scores of the whole track</caption>
<thead><tr><th scope="col">source</th>{head}</tr></thead>
<tbody>
{body}
</tbody>
</table>"""

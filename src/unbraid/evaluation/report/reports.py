"""The page about an evaluation and that about a few examples: of one kind, with tracks to look at and listen to."""

from __future__ import annotations

import math
import os
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass

import unbraid
from unbraid.audio.recording import Recording
from unbraid.errors import ConfigError
from unbraid.evaluation.estimates import EstimateSource
from unbraid.evaluation.material import PASSAGE_SECONDS
from unbraid.evaluation.measures import MEASURES
from unbraid.evaluation.report.overview import all_tracks, distributions, scores_section
from unbraid.evaluation.report.page import MP3_KBPS, escape, fact_list, whole_page
from unbraid.evaluation.report.passages import Passage, passage_section
from unbraid.evaluation.scores import Scores, TrackScore
from unbraid.evaluation.scoring import MEASURED
from unbraid.evaluation.summary import Summary
from unbraid.evaluation.tracks import Track, TrackList
from unbraid.files.pending import PendingFile, write_pending

_MOST_ITEMS, _MOST_SOUNDS = 3, 30
"""ours: of the best tracks, and as many of the worst; fewer where each has many sounds."""
_AUDIO_BYTES = 6_000_000
"""ours: of all sounds of a page together, before base64; passages become shorter where there are many sounds."""
_SHORTEST_SECONDS = 3.0

_ABOUT_EXAMPLES = """<p>The SI-SDR compares, whatever the loudness, the energy of one source with that of everything
else in a sound: at 0 dB both are equal, at 10 dB the rest has a tenth of the energy, at 20 dB a hundredth.
<em>SI-SDR before</em> is that of the mixture as it came, <em>SI-SDR</em> that of the estimate, and the improvement
<em>SI-SDRi</em> is what the separation gained. The SNR also counts a wrong loudness. A few examples show what to
expect; they do not measure a model: <code>unbraid evaluate</code> does.</p>
"""


_HOW_TO_LISTEN = """<p>In each player the mixture, the estimates, their references and what is wrong with them (estimate
minus reference) run in step: switch between them while they play, and solo or mute a source in all of them at once.
Waveforms of one example have one scale; spectrograms have logarithmic frequencies, and 90 dB from a full-scale sine
down to none.</p>
"""


@dataclass(frozen=True, kw_only=True)
class ItemDrawn:
    """One of the best or worst tracks is in the page."""

    index: int
    count: int
    name: str


def write_examples_report(
    path: str | os.PathLike[str],
    examples: Sequence[Passage],
    *,
    title: str = "Separated by unbraid",
    facts: Mapping[str, str] | None = None,
) -> None:
    """Writes the page about examples that `score_estimates` has scored; `facts` (model, versions) are in its head."""
    pending = PendingFile(path)
    try:
        page = build_page(title, facts or {}, [("Examples", examples)], measures=MEASURED, about=_ABOUT_EXAMPLES)
        write_pending(pending, page.encode("utf-8"))
    finally:
        pending.discard()


def write_score_report(
    pending: PendingFile,
    scores: Scores,
    summary: Summary,
    estimates: EstimateSource,
    tracks: TrackList,
) -> Generator[ItemDrawn, None, None]:
    """Writes the page about an evaluation: scores, how they spread, and the best and the worst tracks.

    Its size is bounded whatever was evaluated: a few tracks, of each the ten seconds with the most error or less, as
    MP3. The tracks that it shows are separated again.
    """
    by_name = {track.name: track for track in tracks.tracks}
    sounds_each = 1 + 3 * max((len(track.targets) for track in scores.tracks), default=1)
    best, worst = choose_items(scores, max(1, min(_MOST_ITEMS, _MOST_SOUNDS // sounds_each)))
    shown = [*worst, *best]
    num_sounds = sum(1 + 3 * len(score.targets) for score in shown)
    passages = []
    for index, score in enumerate(shown):
        passages.append(_cut(by_name[score.name], score, estimates, num_sounds))
        yield ItemDrawn(index=index, count=len(shown), name=score.name)
    if not passages:
        raise ConfigError("no track has a score: there is nothing to report")
    headliner = scores.metrics[0]
    page = build_page(
        f"{scores.name} on {scores.data['name']}",
        _facts(scores, summary),
        [
            (f"The worst by {headliner}", passages[: len(worst)]),
            (f"The best by {headliner}", passages[len(worst) :]),
        ],
        measures=scores.metrics,
        before=scores_section(scores, summary) + distributions(scores, summary),
        after=all_tracks(scores),
    )
    write_pending(pending, page.encode())


def build_page(
    title: str,
    facts: Mapping[str, str],
    groups: Sequence[tuple[str, Sequence[Passage]]],
    *,
    measures: Sequence[str],
    about: str = "",
    before: str = "",
    after: str = "",
) -> str:
    """The page as text: `facts` and `about` in its head, groups of passages under their headings, and what stands
    `before` and `after` them, as HTML."""
    parts = [
        f"<header>\n<h1>{escape(title)}</h1>\n{fact_list(facts)}\n{about}{_HOW_TO_LISTEN}\n</header>",
        before,
    ]
    for heading, passages in groups:
        if passages:
            parts.append(f"<section>\n<h2>{escape(heading)}</h2>\n</section>")
            parts += [passage_section(passage, measures) for passage in passages]
    return whole_page(title, "\n".join([*parts, after]))


def choose_items(scores: Scores, num_items: int) -> tuple[list[TrackScore], list[TrackScore]]:
    """The best and the worst tracks by the headline, each from its end inwards, and no track twice."""
    measure = scores.metrics[0]
    known = [track for track in scores.tracks if not math.isnan(track.value(measure))]
    sign = 1 if MEASURES[measure].higher_is_better else -1
    ranked = sorted(known, key=lambda track: sign * track.value(measure))
    worst = ranked[: min(num_items, (len(ranked) + 1) // 2)]
    best = ranked[len(worst) :][::-1][:num_items]
    return best, worst


def _cut(track: Track, score: TrackScore, estimates: EstimateSource, num_sounds: int) -> Passage:
    """The passage with the most error, shorter where many sounds share the page."""
    kbps = MP3_KBPS[min(track.num_channels, 2)]
    seconds = min(PASSAGE_SECONDS, max(_SHORTEST_SECONDS, _AUDIO_BYTES * 8 / (kbps * 1000 * num_sounds)))
    start = round(score.most_error_at * track.sample_rate)
    count = min(round(seconds * track.sample_rate), track.num_samples - start)
    sources = tuple(target.source for target in score.targets)
    with estimates.open(track, sources) as estimated:
        samples = estimated.read(start, count)
        order = [estimated.names.index(target.estimate) for target in score.targets]
    references = track.read_references(sources, start, count)
    rate = track.sample_rate
    return Passage(
        score=score,
        start_seconds=score.most_error_at,
        codec="mp3",
        mixture=Recording(track.read_mixture(start, count), rate),
        references={name: Recording(one, rate) for name, one in zip(sources, references, strict=True)},
        estimates={name: Recording(samples[index], rate) for name, index in zip(sources, order, strict=True)},
    )


def _facts(scores: Scores, summary: Summary) -> dict[str, str]:
    estimates = scores.estimates
    facts = {"estimates": f"{scores.name} ({estimates['kind']})"}
    if estimates.get("sha256"):
        facts["weights"] = str(estimates["sha256"])[:12]
    if estimates.get("settings"):
        facts["settings"] = ", ".join(f"{name} {value}" for name, value in estimates["settings"].items())
    facts["references"] = f"{scores.data['name']}, layout {scores.data['layout']}"
    facts["tracks"] = f"{len(scores.tracks)}, {summary.audio_seconds:.0f} s of audio"
    if summary.model_seconds:
        facts["separated in"] = f"{summary.model_seconds:.1f} s"
    for name in scores.metrics:
        facts[name] = MEASURES[name].meaning
    facts["written by"] = f"unbraid {unbraid.__version__}"
    return facts

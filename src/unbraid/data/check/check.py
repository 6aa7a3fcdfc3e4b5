"""Looks through a whole data set for what spoils training, and says what to do about each thing.

`check_data` is a generator of typed events: what was found to be there, how far it is, each finding as it turns up.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from threading import Event

from unbraid.data.check.findings import Finding
from unbraid.data.check.scan import ClipFacts, ItemScan, scan_item
from unbraid.data.clips import UnreadableFilesError, is_read_from_start
from unbraid.data.items import Clip, Dataset, Item, Split
from unbraid.data.mixing.pools import SILENCE_DB
from unbraid.data.open import open_splits
from unbraid.data.threads import map_as_done
from unbraid.files.names import printable

_LOSSLESS_DB, _LOSSY_DB, _UNRELATED_DB = -40.0, -20.0, -10.0
"""ours: how far a mixture may be from the sum of its sources, in what format; and from where on that is an error."""

_LENGTH_SECONDS = 0.1
"""ours: lengths in one item may differ by so much (codecs add up to two frames) before it is more than untidy."""

_LOSSY_SUFFIXES = (".mp3", ".mp4", ".m4a", ".aac", ".ogg", ".oga", ".opus", ".wma")


@dataclass(frozen=True)
class SplitSummary:
    """What one split holds."""

    split: Split
    num_items: int
    seconds: float
    """Of the items: the longest file of each."""
    audio_seconds: float
    """Of all files together."""
    source_seconds: Mapping[str, float]
    """Per source that is to be separated, how much of it there is."""
    sample_rates: tuple[int, ...]
    num_channels: tuple[int, ...]
    num_speakers: int
    num_mixtures: int
    """Items that have a mixture of their own."""


@dataclass(frozen=True)
class Opened:
    """The layout is known."""

    layout: str
    root: Path
    splits: tuple[SplitSummary, ...]


@dataclass(frozen=True)
class Scanned:
    """Some more has been listened to."""

    done_seconds: float
    total_seconds: float


CheckEvent = Opened | Scanned | Finding


def check_data(
    root: Path, layout: str = "auto", splits: Iterable[Split] | None = None, jobs: int = 1
) -> Iterator[CheckEvent]:
    """Opens the data set, reads all of it in `jobs` threads, and yields what is found on the way.

    Raises DataError if the layout is not known. Where files cannot even be opened, these are findings, and so is what
    else is damaged; nothing more can be said then.
    """
    try:
        datasets = open_splits(root, layout)
    except UnreadableFilesError as error:
        for path, why in error.files.items():
            yield Finding("unreadable", _relative(Path(path), root), why.predicate)
        yield from _damaged(error.clips, root, jobs)
        return
    if splits is not None:
        wanted = set(splits)
        datasets = [dataset for dataset in datasets if dataset.split in wanted]
    yield Opened(
        datasets[0].layout if datasets else layout, root, tuple(summarise_split(dataset) for dataset in datasets)
    )
    checks = _AcrossItems(datasets, root)
    if splits is None:
        yield from checks.missing_splits()
    done, total = 0.0, sum(_seconds(item) for dataset in datasets for item in dataset.items)
    work = [(dataset, item) for dataset in datasets for item in dataset.items]
    stop = Event()
    for _, scan in map_as_done(partial(_scan, stop), work, jobs, stop):
        yield from check_item(scan, root)
        checks.add(scan)
        done += _seconds(scan.item)
        yield Scanned(done, total)
    yield from checks.findings()


def _damaged(clips: Iterable[Clip], root: Path, jobs: int) -> Iterator[CheckEvent]:
    """Which of some files cannot be read to their end, whatever they belong to."""
    unique = {(clip.path, clip.stream): clip for clip in clips}
    items = [Item(name=_place(clip, root), sources={"recording": (clip,)}) for clip in unique.values()]
    done, total = 0.0, sum(_seconds(item) for item in items)
    stop = Event()
    work = partial(scan_item, "train", sums=False, stop=stop)
    for item, scan in map_as_done(work, items, jobs, stop):
        for facts in scan.clips:
            for finding in _check_clip(scan, facts, root):
                if finding.kind in ("unreadable", "truncated"):
                    yield replace(finding, split=None)
        done += _seconds(item)
        yield Scanned(done, total)


def summarise_split(dataset: Dataset) -> SplitSummary:
    """Counts and hours, from the headers."""
    clips = [clip for item in dataset.items for _, clip in _clips(item)]
    sources: dict[str, float] = dict.fromkeys(dataset.sources, 0.0)
    for item in dataset.items:
        for source in dataset.sources:
            sources[source] += max((clip.seconds for clip in item.sources.get(source, ())), default=0.0)
    return SplitSummary(
        split=dataset.split,
        num_items=len(dataset.items),
        seconds=sum(max((clip.seconds for _, clip in _clips(item)), default=0.0) for item in dataset.items),
        audio_seconds=sum(clip.seconds for clip in clips),
        source_seconds=sources,
        sample_rates=tuple(sorted({clip.sample_rate for clip in clips})),
        num_channels=tuple(sorted({clip.num_channels for clip in clips})),
        num_speakers=len(set().union(*(_speakers(item) for item in dataset.items))),
        num_mixtures=sum(item.mixture is not None for item in dataset.items),
    )


def check_item(scan: ItemScan, root: Path) -> Iterator[Finding]:
    """What one item alone shows; files are named as below `root`."""
    for facts in scan.clips:
        yield from _check_clip(scan, facts, root)
    clips = [facts.clip for facts in scan.clips]
    rates = sorted({clip.sample_rate for clip in clips})
    if len(rates) > 1:
        yield Finding("unequal-rates", scan.item.name, f"{_list(rates)} Hz", scan.split)
    if any(facts.trouble for facts in scan.clips):
        return
    # Tracks of one stem may end where they fall silent; stems of one song may not.
    lengths = {
        source: max(facts.num_samples / facts.clip.sample_rate for facts in scan.clips if facts.source == source)
        for source in {facts.source for facts in scan.clips}
    }
    if lengths and max(lengths.values()) - min(lengths.values()) > _LENGTH_SECONDS:
        detail = ", ".join(f"{source} {seconds:.2f} s" for source, seconds in sorted(lengths.items()))
        yield Finding("unequal-lengths", scan.item.name, detail, scan.split)
        return  # That they do not add up says nothing new.
    yield from _check_sum(scan, any(clip.path.suffix.lower() in _LOSSY_SUFFIXES for clip in clips))


def _check_clip(scan: ItemScan, facts: ClipFacts, root: Path) -> Iterator[Finding]:
    clip, place = facts.clip, _place(facts.clip, root)
    if facts.trouble:
        yield Finding("unreadable", place, facts.trouble, scan.split)
        return
    if facts.truncation:
        yield Finding("truncated", place, facts.truncation, scan.split)
        return
    missing = clip.num_samples - facts.num_samples
    # Containers count the frames of a codec, which may be two more than what comes out.
    if missing > (4096 if clip.path.suffix.lower() in _LOSSY_SUFFIXES else 0):
        held = facts.num_samples / clip.sample_rate
        yield Finding("truncated", place, f"{held:.2f} s of {clip.seconds:.2f} s", scan.split)
    if facts.bad_samples:
        yield Finding("not-numbers", place, f"{facts.bad_samples} samples", scan.split)
    if facts.clipped_samples:
        share = facts.clipped_samples / max(1, facts.num_samples * clip.num_channels)
        yield Finding("clipping", place, f"{facts.clipped_samples} samples, {share:.2%}", scan.split)
    if facts.rms < 10 ** (SILENCE_DB / 20):
        yield Finding("silent", place, f"{facts.source} of {scan.item.name}", scan.split)
    if is_read_from_start(clip):
        yield Finding("slow-format", place, clip.path.suffix, scan.split)


def _check_sum(scan: ItemScan, lossy: bool) -> Iterator[Finding]:
    difference, after = scan.difference_db, scan.difference_after_gain_db
    if difference is None or after is None or scan.gain is None:
        return
    if difference <= (_LOSSY_DB if lossy else _LOSSLESS_DB):
        return
    detail = f"they differ by {difference:.1f} dB relative to the mixture"
    if after <= _LOSSY_DB:
        detail += f", by {after:.1f} dB if the sources are multiplied by {scan.gain:.3f}"
    kind = "unrelated-mixture" if difference > _UNRELATED_DB else "inexact-mixture"
    yield Finding(kind, scan.item.name, detail, scan.split)


@dataclass
class _AcrossItems:
    """What only shows when all items have been seen."""

    datasets: list[Dataset]
    root: Path
    places: dict[str, list[tuple[Split, str]]] = field(default_factory=lambda: defaultdict(list))
    """Digest -> where that audio is."""

    def add(self, scan: ItemScan) -> None:
        # Where one source sounds alone, the mixture is the same as that source.
        sources = {facts.digest for facts in scan.clips if facts.source != "mixture"}
        for facts in scan.clips:
            if facts.source == "mixture" and facts.digest in sources:
                continue
            if facts.digest and facts.rms >= 10 ** (SILENCE_DB / 20):
                self.places[facts.digest].append((scan.split, _place(facts.clip, self.root)))

    def missing_splits(self) -> Iterator[Finding]:
        there = {dataset.split for dataset in self.datasets}
        for split in ("train", "valid", "test"):
            if split not in there:
                yield Finding("no-split", split, "", split)

    def findings(self) -> Iterator[Finding]:
        yield from self._duplicates()
        yield from self._names_and_speakers()
        sources = dict.fromkeys(source for dataset in self.datasets for source in dataset.sources)
        for dataset in self.datasets:
            yield from _missing_stems(dataset, list(sources))
        clips = [clip for dataset in self.datasets for item in dataset.items for _, clip in _clips(item)]
        rates = Counter(clip.sample_rate for clip in clips)
        if len(rates) > 1:
            for rate, count in rates.most_common():
                yield Finding("mixed-rates", f"{rate} Hz", f"{count} files")
        channels = Counter(clip.num_channels for clip in clips)
        if len(channels) > 1:
            for number, count in channels.most_common():
                yield Finding("mixed-channels", f"{number}", f"{count} files")

    def _duplicates(self) -> Iterator[Finding]:
        # An utterance may be in many mixtures of speakers; a stem is in one song.
        repeats_count = not any(dataset.exchangeable and len(dataset.sources) > 1 for dataset in self.datasets)
        for places in self.places.values():
            by_split: dict[Split, set[str]] = defaultdict(set)
            for split, place in places:
                by_split[split].add(place)
            if len(by_split) > 1:
                first, *others = [f"{min(there)} ({split})" for split, there in by_split.items()]
                yield Finding("leak", first, f"is the same as {_list(others)}")
            for split, there in by_split.items():
                if repeats_count and len(there) > 1:
                    first, *others = sorted(there)
                    yield Finding("repeated", first, f"is the same as {_list(others)}", split)

    def _names_and_speakers(self) -> Iterator[Finding]:
        speakers: dict[str, list[str]] = defaultdict(list)
        for dataset in self.datasets:
            for speaker in sorted(set().union(*(_speakers(item) for item in dataset.items))):
                speakers[speaker].append(dataset.split)
        for speaker, splits in speakers.items():
            if len(splits) > 1:
                yield Finding("shared-speakers", speaker, f"in {_list(splits)}")


def _missing_stems(dataset: Dataset, sources: list[str]) -> Iterator[Finding]:
    """Only where items are songs: in pools each item has one source."""
    for item in dataset.items:
        missing = [source for source in sources if source not in item.sources]
        if missing and len(item.sources) > 1:
            yield Finding("missing-stems", item.name, f"no {_list(missing)}", dataset.split)


def _scan(stop: Event, work: tuple[Dataset, Item]) -> ItemScan:
    dataset, item = work
    return scan_item(dataset.split, item, dataset.mixtures_are_sums, stop)


def _clips(item: Item) -> list[tuple[str, Clip]]:
    named = [(source, clip) for source, clips in item.sources.items() for clip in clips]
    return named + ([("mixture", item.mixture)] if item.mixture is not None else [])


def _seconds(item: Item) -> float:
    return sum(clip.seconds for _, clip in _clips(item))


def _speakers(item: Item) -> set[str]:
    return {text for label, text in item.labels.items() if label.startswith("speaker") and text}


def _relative(path: Path, root: Path) -> str:
    return printable(path.relative_to(root) if path.is_relative_to(root) else path)


def _place(clip: Clip, root: Path) -> str:
    path = _relative(clip.path, root)
    if clip.stream:
        path += f" stream {clip.stream}"
    return f"{path} from {clip.start / clip.sample_rate:.2f} s" if clip.start else path


def _list(things: Iterable[object]) -> str:
    return ", ".join(str(thing) for thing in things)

"""Data sets made to fit: sources renamed, and several data sets taken as one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from unbraid.data.items import Clip, Dataset, Item
from unbraid.errors import DataError


def rename_sources(dataset: Dataset, names: Mapping[str, str]) -> Dataset:
    """The same data set with other names for its sources; those that get the same name are summed.

    So {"speech": "dialogue"} renames, and {"drums": "accompaniment", "bass": "accompaniment"} makes one of two.
    """
    unknown = set(names) - set(dataset.sources)
    if unknown:
        raise DataError(
            f"has no source named {', '.join(sorted(unknown))}: it has {', '.join(dataset.sources)}",
            subject=f"{dataset.root}",
        )

    def renamed(item: Item) -> Item:
        sources: dict[str, tuple[Clip, ...]] = {}
        for source, clips in item.sources.items():
            name = names.get(source, source)
            sources[name] = sources.get(name, ()) + clips
        return replace(item, sources=sources)

    sources = tuple(dict.fromkeys(names.get(source, source) for source in dataset.sources))
    return replace(dataset, sources=sources, items=tuple(map(renamed, dataset.items)))


def join_datasets(datasets: Sequence[Dataset]) -> Dataset:
    """All items of several data sets as one, so that each source may come from roots of its own.

    Names of items get the number of their data set in front where two are the same.
    """
    if not datasets:
        raise DataError("no data set to join")
    names = [item.name for dataset in datasets for item in dataset.items]
    clash = len(set(names)) < len(names)
    items = tuple(
        replace(item, name=f"{number}/{item.name}") if clash else item
        for number, dataset in enumerate(datasets)
        for item in dataset.items
    )
    first = datasets[0]
    return replace(
        first,
        layout="+".join(dict.fromkeys(dataset.layout for dataset in datasets)),
        sources=tuple(dict.fromkeys(source for dataset in datasets for source in dataset.sources)),
        exchangeable=first.exchangeable,
        items=items,
    )

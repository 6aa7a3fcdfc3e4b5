"""Draws fixed lists of two-speaker mixtures: pairs of utterances, their levels, and noise behind them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from unbraid.data.clips import read_source
from unbraid.data.items import Clip, Dataset, Item
from unbraid.data.lists.scenes import on_grid
from unbraid.data.lists.speaker_pairs import NOISE, ListedMixture, find_listed, read_noise, read_speaker
from unbraid.data.mixing.pools import is_silent
from unbraid.data.mixing.speaker_levels import MIXTURE_LEVEL_DB
from unbraid.errors import DataError

_TRIES = 50
_LEAST_SECONDS = 2.0
"""ours: shorter utterances are not listed."""
_FRAME_SECONDS = 0.02
_ACTIVE_DB = -20.0
"""A speaker is active in a frame that is not further below the loudness of the whole utterance."""


def list_mixtures(dataset: Dataset, count: int, seed: int) -> list[ListedMixture]:
    """A fixed list: pairs of different speakers, levels within +-5 dB, cut to the shorter utterance.

    Pairs within each collection and across take a third each. Needs items of one utterance with the label speaker and,
    where known, sex and collection.
    """
    generator = np.random.default_rng(seed)
    spoken: dict[str, list[Item]] = {}
    for item in dataset.items:
        if "speaker" in item.labels and item.sources:
            spoken.setdefault(item.labels["speaker"], []).append(item)
    if len(spoken) < 2:
        raise DataError(
            f"has {len(spoken)} speakers in the split '{dataset.split}'; two are needed", subject=f"{dataset.root}"
        )
    collections = sorted({_label(item, "collection") for items in spoken.values() for item in items})
    if len(collections) == 2:
        a, b = collections
        kinds = [(a, a), (b, b), (a, b)]
    else:
        kinds = [("", "")]
    for kind in kinds[:count]:
        _check_pair(dataset, spoken, kind)
    mixtures = []
    for index in range(count):
        pair: list[Item] = []
        while len(pair) < 2:
            wanted = kinds[index % len(kinds)][len(pair)]
            taken = {item.labels["speaker"] for item in pair}
            speakers = [
                speaker
                for speaker in sorted(spoken)
                if _label(spoken[speaker][0], "collection").startswith(wanted) and speaker not in taken
            ]
            said = spoken[speakers[generator.integers(len(speakers))]]
            item = said[generator.integers(len(said))]
            if _clip(item).seconds >= _LEAST_SECONDS:
                pair.append(item)
        difference = generator.uniform(-5, 5)
        mixtures.append(_list_pair(dataset, f"{index:04d}", pair[0], pair[1], float(difference)))
    return mixtures


def _check_pair(dataset: Dataset, spoken: Mapping[str, list[Item]], kind: tuple[str, str]) -> None:
    """Refuses a kind of pair for which there are no two speakers with an utterance that is long enough."""
    able = {
        speaker: _label(said[0], "collection")
        for speaker, said in spoken.items()
        if any(_clip(item).seconds >= _LEAST_SECONDS for item in said)
    }
    first, second = ({one for one, where in able.items() if where.startswith(wanted)} for wanted in kind)
    # Whoever is drawn first has to leave somebody else to draw.
    if not first or any(not second - {one} for one in first):
        where = f" in {' and '.join(sorted(set(kind)))}" if kind[0] else ""
        raise DataError(
            f"has too few speakers with utterances of {_LEAST_SECONDS:g} s or more{where}",
            subject=str(dataset.root),
            remedy="add some, because a mixture needs two",
        )


def _list_pair(dataset: Dataset, name: str, first: Item, second: Item, difference_db: float) -> ListedMixture:
    clips = _clip(first), _clip(second)
    if clips[0].sample_rate != clips[1].sample_rate:
        raise DataError(
            f"{clips[0].path} and {clips[1].path} have different sample rates", remedy="resample one, then list them"
        )
    num_samples = min(clip.num_samples for clip in clips)
    signals = np.concatenate([read_source([clip], 0, num_samples, clip.sample_rate, 1) for clip in clips])
    signals = signals.astype(np.float64)
    gains = 10 ** (np.array([difference_db, -difference_db]) / 2 / 20) / _rms(signals)
    gains *= 10 ** (MIXTURE_LEVEL_DB / 20) / _rms((signals * gains[:, None]).sum(axis=0))
    alike = _label(first, "collection") == _label(second, "collection")
    return ListedMixture(
        name=name,
        first=_path_in_list(dataset, first),
        second=_path_in_list(dataset, second),
        first_gain=round(float(gains[0]), 6),
        second_gain=round(float(gains[1]), 6),
        num_samples=num_samples,
        collections=_label(first, "collection") if alike else "cross",
        sexes="".join(sorted(_label(first, "sex") + _label(second, "sex"))),
        level_difference_db=round(difference_db, 3),
        overlap=round(_overlap(signals, clips[0].sample_rate), 3),
    )


def add_noise(
    dataset: Dataset, mixtures: list[ListedMixture], seed: int, below_db: tuple[float, float] = (0.0, 15.0)
) -> list[ListedMixture]:
    """The same mixtures with a recording of the data set's source `noise` behind each.

    Noise lies within `below_db` dB below the two speakers, over the whole mixture. What is shorter than the mixture
    begins somewhere in it.
    """
    generator = np.random.default_rng(seed)
    noises = [item for item in dataset.items if item.sources.get(NOISE)]
    if not noises:
        raise DataError(f"has no source '{NOISE}' in the split '{dataset.split}'", subject=f"{dataset.root}")
    clips = find_listed(dataset, mixtures)
    noisy = []
    for mixture in mixtures:
        rate = clips[mixture.first].sample_rate
        level = round(float(generator.uniform(*below_db)), 3)
        for _ in range(_TRIES):
            item = noises[int(generator.integers(len(noises)))]
            clip = item.sources[NOISE][0]
            spare = clip.seconds - mixture.num_samples / rate
            drawn = replace(
                mixture,
                noise=_path_in_list(dataset, item, NOISE),
                noise_from=on_grid(generator.uniform(0, max(0.0, spare))),
                noise_at=on_grid(generator.uniform(0, max(0.0, -spare))),
                noise_gain=1.0,
                noise_below_db=level,
            )
            samples = read_noise(drawn, {**clips, drawn.noise: clip}, rate)
            if not is_silent(samples):
                break
        else:
            raise DataError(f"the noise of {dataset.root} is silent nearly everywhere, such as {noises[0].name}")
        speech = np.sum([read_speaker(mixture, number, clips, rate)[0] for number in range(2)], axis=0)
        gain = 10 ** (-level / 20) * float(_rms(speech) / _rms(samples[0]))
        noisy.append(replace(drawn, noise_gain=round(gain, 6)))
    return noisy


def _overlap(signals: np.ndarray, sample_rate: int) -> float:
    """(2, sample)."""
    frame = round(_FRAME_SECONDS * sample_rate)
    whole = signals[:, : signals.shape[1] // frame * frame]
    levels = _rms(whole.reshape(2, -1, frame))
    active = levels > _rms(signals)[:, None] * 10 ** (_ACTIVE_DB / 20)
    return float(active.all(axis=0).sum() / max(1, active.any(axis=0).sum()))


def _clip(item: Item) -> Clip:
    return next(iter(item.sources.values()))[0]


def _label(item: Item, name: str) -> str:
    return item.labels.get(name, "")


def _path_in_list(dataset: Dataset, item: Item, source: str | None = None) -> str:
    """As the data set's own table has it, or below its root."""
    path = _clip(item).path if source is None else item.sources[source][0].path
    return item.name if path.as_posix().endswith(f"/{item.name}") else path.relative_to(dataset.root).as_posix()


def _rms(samples: np.ndarray) -> np.ndarray:
    return np.asarray(np.sqrt(np.mean(np.square(samples), axis=-1) + 1e-12))

"""What comes out of `unbraid separate` for something else than what a model was made for? On the corpus's test split.

python -m benchmarks.papers.unusual_input speech CORPUS
python -m benchmarks.papers.unusual_input cinematic CORPUS

Levels are those of the outputs against the input, in dB, their median over clips of five seconds; for speakers, whose
order means nothing, the louder output stands first. "Kept" is the median SI-SDR of that output which is most like the
input, or, for several speakers, the median improvement of the two outputs over the two speakers they are most like.
"Warned" is the share of the clips of which `unbraid separate` says that a speaker is hardly heard.
"""

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

from unbraid.data.mixing.pools import Pool, SourceRecording, recordings_of
from unbraid.data.mixing.speaker_levels import MIXTURE_LEVEL_DB
from unbraid.data.mixing.turns import Turns
from unbraid.data.open import open_dataset
from unbraid.metrics.assignment import best_assignment, pairwise
from unbraid.metrics.ratios import si_sdr
from unbraid.models.contract import ModelSpec
from unbraid.separation.process import tune_process
from unbraid.separation.separator import Separator

SECONDS = 5.0
CLIPS = 100


def run(name: str, corpus: Path) -> None:
    separator = Separator(name)
    spec = separator.spec
    outputs = ("louder output", "softer output") if spec.exchangeable else spec.sources
    columns = [*outputs, "kept", *(["warned"] if spec.exchangeable else [])]
    print(f"| input | {' | '.join(columns)} |\n|{'---|' * (len(columns) + 1)}")
    for kind, inputs in _inputs(spec, corpus).items():
        levels, kept, warned = [], [], []
        for parts in inputs:
            mixture = parts.sum(dim=0)
            stems = separator.separate(mixture[None].numpy(), spec.sample_rate)
            estimates = torch.from_numpy(np.stack([stems[source].samples[0] for source in spec.sources]))
            found = 10 * torch.log10(estimates.square().mean(-1) / mixture.square().mean()).numpy()
            levels.append(np.sort(found)[::-1] if spec.exchangeable else found)
            kept.append(_kept(estimates, parts, mixture))
            warned.append(bool(stems.finished.hardly_heard))
        cells = [f"{value:+.1f}" for value in (*np.median(levels, axis=0), np.median(kept))]
        cells += [f"{100 * np.mean(warned):.0f} %"] if spec.exchangeable else []
        print(f"| {kind} | {' | '.join(cells)} |", flush=True)
    silence = separator.separate(np.zeros((1, round(SECONDS * spec.sample_rate)), np.float32), spec.sample_rate)
    largest = max(np.abs(stem.samples).max() for stem in silence.values())
    print(f"\nout of digital silence: samples of {largest:g} at most")


def _kept(estimates: torch.Tensor, parts: torch.Tensor, mixture: torch.Tensor) -> float:
    if len(parts) == 1:
        return float(si_sdr(estimates, parts.expand_as(estimates)).max())
    scores = pairwise(si_sdr, estimates, parts)  # (estimate, reference), fewer estimates than references
    found = best_assignment(scores.T)
    chosen = [(int(reference), estimate) for estimate, reference in enumerate(found)]
    gains = [scores[estimate, reference] - si_sdr(mixture, parts[reference]) for reference, estimate in chosen]
    return float(torch.stack(gains).mean())


def _inputs(spec: ModelSpec, corpus: Path) -> dict[str, Iterator[torch.Tensor]]:
    dataset = open_dataset(corpus, "test", "corpus:cinematic")
    speech, music, effects = (recordings_of(dataset, source) for source in ("dialogue", "music", "effects"))
    speakers = sorted({item.labels["speaker"] for item in dataset.items if "speaker" in item.labels})
    rate, generator = spec.sample_rate, np.random.default_rng(0)

    def draw(*recordings: list) -> Iterator[torch.Tensor]:
        """(part, sample): a piece of a recording of each of the lists, all as loud as each other."""
        pools = [Pool(one, keep=True) for one in recordings]
        for _ in range(CLIPS):
            pieces = [pool.draw(round(SECONDS * rate), rate, 1, generator)[0] for pool in pools]
            length = min(len(piece) for piece in pieces)
            parts = np.stack([piece[:length] / np.sqrt(np.mean(piece[:length] ** 2)) for piece in pieces])
            parts *= 10 ** (MIXTURE_LEVEL_DB / 20) / np.sqrt(np.mean(parts.sum(axis=0) ** 2))
            yield torch.from_numpy(parts.astype(np.float32))

    alone = {"music": draw(music), "effects": draw(effects)}
    if not spec.exchangeable:
        return {"dialogue alone": draw(speech), **{f"{kind} alone": clips for kind, clips in alone.items()}}
    thirds = [
        [SourceRecording(item.sources["dialogue"]) for item in dataset.items if item.labels.get("speaker") in third]
        for third in (speakers[n::3] for n in range(3))
    ]
    turns = Turns(turns_share=1.0)
    in_turns = (
        torch.from_numpy(turns.take(parts[:, None].numpy(), rate, generator)[:, 0]) for parts in draw(*thirds[:2])
    )
    people = {"one speaker": draw(speech), "two speakers": draw(*thirds[:2]), "three speakers": draw(*thirds)}
    return {**people, **alone, "two speakers in turns": in_turns}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("corpus", type=Path)
    tune_process()
    chosen = parser.parse_args()
    run(chosen.model, chosen.corpus)

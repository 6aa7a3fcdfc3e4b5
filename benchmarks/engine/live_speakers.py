"""Does each speaker keep the channel in a live session, and what does a pause of ten minutes change?

    python -m benchmarks.engine.live_speakers WEIGHTS CORPUS --mixtures 20

Takes mixtures of `speech-valid`. A session hears a mixture, a pause (digital silence, or faint noise), and the same
mixture once more. SI-SDR improvement of either half is taken in the order that suits the first half best; speakers have
swapped where another order suits the second half better. Without a pause, the halves follow each other at once.
"""

import argparse
from pathlib import Path

import torch

from benchmarks import machine
from unbraid.evaluation.tracks import open_list
from unbraid.metrics.ratios import si_sdr_improvement
from unbraid.models.contract import SeparationModel
from unbraid.models.live import LiveSession
from unbraid.separation.speakers.ordering import all_orders
from unbraid.weights.store import load_model

NOISE_LEVEL = 1e-4


def hear(session: LiveSession, mixture: torch.Tensor, pause: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """(source, sample) estimates of a mixture before and after a pause."""
    size = mixture.shape[-1]
    outputs = [session.push(part[None, None]) for part in (mixture, pause, mixture)]
    estimates = torch.cat([*outputs, session.flush()], dim=-1)[0, :, 0]
    return estimates[:, :size], estimates[:, -size:]


def gains(estimates: torch.Tensor, references: torch.Tensor, mixture: torch.Tensor) -> torch.Tensor:
    """For each order of the estimates, their mean SI-SDR improvement in dB."""
    orders = all_orders(len(references))
    return torch.stack([si_sdr_improvement(estimates[order], references, mixture).mean() for order in orders])


def run(model: SeparationModel, corpus: Path, count: int, pause_seconds: float) -> None:
    rate = model.spec.sample_rate
    pause = torch.zeros(round(pause_seconds * rate))
    pauses = {
        "no pause": pause[:0],
        f"{pause_seconds:g} s of silence": pause,
        f"{pause_seconds:g} s of faint noise": NOISE_LEVEL * torch.randn(len(pause)),
    }
    before, after, swaps = ({name: [] for name in pauses} for _ in range(3))
    for track in open_list("speech-valid", corpus).first(count).tracks:
        assert track.sample_rate == rate, "the list is at the rate of its corpus"
        references = torch.from_numpy(track.read_references(track.sources, 0, track.num_samples))[:, 0]
        mixture = torch.from_numpy(track.read_mixture(0, track.num_samples))[0]
        for name, silence in pauses.items():
            first, second = hear(model.open_session(), mixture, silence)
            first, second = gains(first, references, mixture), gains(second, references, mixture)
            best = int(first.argmax())
            before[name].append(first[best])
            after[name].append(second[best])
            swaps[name].append(int(second.argmax()) != best)
    print("| between the halves | first half, SI-SDRi dB | second half, same order | swapped |\n|---|---|---|---|")
    for name in pauses:
        means = [float(torch.stack(values[name]).mean()) for values in (before, after)]
        print(f"| {name} | {means[0]:.2f} | {means[1]:.2f} | {sum(swaps[name])} of {len(swaps[name])} |")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("weights")
    parser.add_argument("corpus", type=Path)
    parser.add_argument("--mixtures", type=int, default=20)
    parser.add_argument("--pause-seconds", type=float, default=600)
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    print(machine.describe())
    with torch.inference_mode():
        run(load_model(options.weights), options.corpus, options.mixtures, options.pause_seconds)

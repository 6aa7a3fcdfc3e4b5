"""From drawn sources to a loss, and the run: a step is a mixture of powers, the model's masks and what they are worth.

OUT gets `best.safetensors` (an average of the weights, the best by mean improvement of SI-SDR), `last.safetensors` (the
latest average), `last.pt`, `log.jsonl`.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.training.band_training.draw import Stems, draw_example
from benchmarks.training.band_training.measure import HOP, RATE, SOURCES, join_bands, join_description, widths_of
from unbraid.models.catalog import build_model
from unbraid.models.sfc.filterbank import FilterbankConfig
from unbraid.models.sfc.model import SFC
from unbraid.training.optimisation.optimisers import OptimiserConfig, build_optimiser
from unbraid.weights.store import load_model, save_model


class BandModel(nn.Module):
    """The masks of a model whose powers in narrow bands are known."""

    def __init__(self, preset: str) -> None:
        super().__init__()
        model = build_model(preset)
        assert isinstance(model, SFC)
        assert isinstance(model.config.compression, FilterbankConfig)
        self.model = model
        self.num_bands = model.config.compression.narrow_bands
        self.widths = torch.from_numpy(widths_of(self.num_bands))

    def forward(self, powers: Tensor, sides: Tensor) -> Tensor:
        """(batch, source, channel, frame, band) of powers (channel, batch, frame, band) at any level."""
        core = self.model.core
        mean = (powers.sum(0) @ self.widths).mean(1) / (2 * self.widths.sum())
        scale = 1 / mean.clamp_min(1e-15)[:, None, None]
        bands = core.encoder.embed(powers * scale, sides * scale)  # type: ignore[operator]
        return core.decoder.masks(core.separator(bands)).permute(0, 3, 4, 1, 2)  # type: ignore[operator]


def mix(drawn: Tensor, widths: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Of (batch, source, frame, band, 3): powers (channel, batch, frame, band), what the channels share (batch, frame,
    band), and per source its power and what it shares with the mixture, (batch, source, channel, frame, band)."""
    amplitude, alike = drawn[..., :2].movedim(-1, 2), drawn[..., 2]
    phase = torch.rand(alike.shape) * (2 * math.pi)
    angles = torch.stack([phase, phase + torch.acos(alike.clamp(-1, 1))], dim=2)
    real, imaginary = amplitude * angles.cos(), amplitude * angles.sin()
    sums, power = (real.sum(1), imaginary.sum(1)), amplitude.square()
    # Of a band of many bins only a part behaves as if it had one phase; in the rest, powers add up. Neighbouring bins
    # in a Hann window are alike.
    dependence = (widths / 1.5).clamp_min(1.0).rsqrt()
    powers = torch.lerp(power.sum(1), sums[0].square() + sums[1].square(), dependence)
    shared = torch.lerp(power, real * sums[0].unsqueeze(1) + imaginary * sums[1].unsqueeze(1), dependence)
    own = (alike * amplitude[:, :, 0] * amplitude[:, :, 1]).sum(1)
    sides = torch.lerp(own, sums[0][:, 0] * sums[0][:, 1] + sums[1][:, 0] * sums[1][:, 1], dependence)
    return powers.movedim(1, 0), sides, power, shared


def loss_of(model: BandModel, drawn: Tensor, merged: Tensor) -> Tensor:
    """SFC's thresholded SNR, and the distance of the masks from the best ones.

    The latter is weighted by the power of a band to 0.3: quiet bands, which an SNR does not see, are to learn as well.
    """
    widths = model.widths
    powers, sides, power, shared = mix(drawn, widths)
    masks = model(powers, sides)
    # Where bass and other are known together only, so are their masks.
    together = masks[:, 3:] + masks[:, 2:3] * merged[:, None, None, None, None]
    masks = torch.cat([masks[:, :3], together], dim=1)
    known = torch.ones(len(drawn), len(SOURCES))
    known[merged, 2] = 0
    mixture = powers.movedim(0, 1).unsqueeze(1)
    level = (power @ widths).sum(dim=(2, 3))
    whole = (mixture @ widths).sum(dim=(2, 3)).clamp_min(1e-3)
    error = ((masks.square() * mixture - 2 * masks * shared + power) @ widths).sum(dim=(2, 3)).clamp_min(0)
    active = level > 1e-6 * whole
    relative = torch.where(active, level, whole)
    decibels = 10 * torch.log10((error + 10**-2.5 * relative) / relative)
    snr = (decibels * torch.where(active, 1.0, 0.1) * known).sum() / known.sum()
    best = (shared / mixture.clamp_min(1e-9)).clamp(0, 1)
    weight = (mixture / whole[..., None, None, None]).clamp_min(1e-12) ** 0.3 * widths.sqrt()
    distance = ((masks - best).square() * weight).sum(dim=(-3, -2, -1)) / weight.sum(dim=(-3, -2, -1))
    return snr + 40 * (distance * known).sum() / known.sum()


@dataclass(frozen=True, kw_only=True)
class Teachers:
    """The mean of models that learned from different drawings errs less than either, and costs all of them to run.

    One may know better than the others what a voice is: then they share out what its vocals leave.
    """

    models: list[BandModel]
    of_vocals: BandModel | None = None

    @property
    def num_bands(self) -> int:
        return self.models[0].num_bands

    @property
    def widths(self) -> Tensor:
        return self.models[0].widths

    @torch.no_grad()
    def __call__(self, powers: Tensor, sides: Tensor) -> Tensor:
        """(batch, source, channel, frame, band)"""
        taught = torch.stack([teacher(powers, sides) for teacher in self.models]).mean(0)
        if self.of_vocals is None:
            return taught
        vocals, others = self.of_vocals(powers, sides)[:, :1], taught[:, 1:]
        return torch.cat([vocals, others * (1 - vocals) / others.sum(1, keepdim=True).clamp_min(1e-6)], dim=1)


def distance_from_teachers(model: BandModel, teachers: Teachers, drawn: Tensor) -> Tensor:
    """How far the masks are from the teachers' masks, measured like the distance from the truth."""
    widths = model.widths
    powers, sides, _, _ = mix(drawn, widths)
    masks, taught = model(powers, sides), teachers(powers, sides)
    mixture, squares = powers.movedim(0, 1).unsqueeze(1), (masks - taught).square()
    whole = (mixture @ widths).sum(dim=(2, 3)).clamp_min(1e-3)
    level = ((taught.square() * mixture) @ widths).sum(dim=(2, 3)) + 1e-4 * whole
    error = ((squares * mixture) @ widths).sum(dim=(2, 3))
    weight = (mixture / whole[..., None, None, None]).clamp_min(1e-12) ** 0.3 * widths.sqrt()
    distance = (squares * weight).sum(dim=(-3, -2, -1)) / weight.sum(dim=(-3, -2, -1))
    return (10 * torch.log10((error + 10**-2.5 * level) / level)).mean() + 40 * distance.mean()


@torch.no_grad()
def validate(model: BandModel | Teachers, bands: Path) -> dict[str, float]:
    """Mean improvement of SI-SDR in dB over pieces of 12 s, by kind of song and stem; `mean` is over these means."""
    found: dict[str, list[float]] = {}
    frames, widths = 12 * RATE // HOP, model.widths
    for path in sorted((bands / "valid").glob("*.npz")):
        song = dict(np.load(path))
        described = torch.from_numpy(join_description(song["mixture"], model.num_bands))
        kind = path.name.split(".")[0] if path.name.startswith(("rendered", "sung")) else "song"
        for start in range(0, len(described), frames):
            piece = described[start : start + frames].unsqueeze(0)
            powers = piece[..., :2].square().movedim(-1, 0)
            masks = model(powers, piece[..., 2] * piece[..., 0] * piece[..., 1])[0]
            whole = float((powers @ widths).sum())
            for stem, mask in zip(SOURCES, masks, strict=True):
                if f"power/{stem}" not in song:
                    continue
                power, shared = (
                    torch.from_numpy(join_bands(song[f"{what}/{stem}"][:, start : start + frames], model.num_bands))
                    for what in ("power", "shared")
                )
                total = float((power @ widths).sum())
                if total > 1e-3 * whole:
                    masked = float(((mask.square() * powers[:, 0]) @ widths).sum())
                    after = si_sdr(float(((mask * shared) @ widths).sum()), masked, total)
                    found.setdefault(f"{kind}/{stem}", []).append(
                        after - si_sdr(float((shared @ widths).sum()), whole, total)
                    )
    means = {name: float(np.mean(values)) for name, values in found.items()}
    return {"mean": float(np.mean(list(means.values()))), **means}


def si_sdr(shared: float, estimate: float, reference: float) -> float:
    """In dB, of what an estimate and its reference share and their energies."""
    target = shared**2 / reference
    return 10 * math.log10(max(target, 1e-12) / max(estimate - target, 1e-12))


def _taught(preset: str, weights: str) -> BandModel:
    teacher = BandModel(preset)
    teacher.model.load_state_dict(load_model(weights).state_dict())
    return teacher.eval()


def train(bands: Path, out: Path, options: argparse.Namespace) -> None:
    torch.set_num_threads(1)
    torch.manual_seed(options.seed)
    out.mkdir(parents=True, exist_ok=True)
    model, average = BandModel(options.preset).train(), BandModel(options.preset)
    if options.init is not None:
        model.model.load_state_dict(load_model(options.init).state_dict())
    teachers = None
    if options.teachers:
        taught = [_taught(options.preset, weights) for weights in options.teachers]
        vocals = _taught(options.preset, options.vocals_teacher) if options.vocals_teacher else None
        teachers = Teachers(models=taught, of_vocals=vocals)
        print(json.dumps({"teachers": validate(teachers, bands)}), flush=True)
    average.load_state_dict(model.state_dict())
    rates = OptimiserConfig(
        name=options.optimiser,
        learning_rate=options.learning_rate,
        matrix_learning_rate=options.learning_rate,
        matrix_kernels=True,
        weight_decay=0.01,
    )
    optimiser = build_optimiser(model, rates)
    step, spent, best = 0, 0.0, -math.inf
    if (out / "last.pt").exists():
        state = torch.load(out / "last.pt", weights_only=True)
        model.load_state_dict(state["model"])
        average.load_state_dict(state["average"])
        optimiser.load_state_dict(state["optimiser"])
        step, spent, best = state["step"], state["spent"], state["best"]
    kept: dict[Path, np.ndarray] = {}
    stems, frames = Stems(bands, model.num_bands, kept), round(options.segment_seconds * RATE / HOP)
    begun = checked = time.process_time()
    losses: list[float] = []
    while True:
        rng = np.random.default_rng([options.seed, step])
        examples = [draw_example(stems, rng, frames, options.voices) for _ in range(options.batch_size)]
        elapsed = spent + time.process_time() - begun
        left = 1 - elapsed / options.cpu_seconds
        for group in optimiser.param_groups:
            group["lr"] = options.learning_rate * min(1.0, (step + 1) / 40, max(left / 0.25, 0.03))
        drawn = torch.from_numpy(np.stack([example for example, _ in examples]))
        if teachers is not None:
            loss = distance_from_teachers(model, teachers, drawn)
        else:
            loss = loss_of(model, drawn, torch.tensor([merged for _, merged in examples]))
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 5.0)
        optimiser.step()
        step += 1
        with torch.no_grad():
            for ours, theirs in zip(average.parameters(), model.parameters(), strict=True):
                ours.lerp_(theirs, max(0.002, 3 / (step + 3)))
        losses.append(float(loss.detach()))
        if time.process_time() - checked < options.every_seconds and left > 0:
            continue
        scores = validate(average, bands)
        line = {"step": step, "cpu_seconds": round(elapsed, 1), "loss": float(np.mean(losses)), **scores}
        print(json.dumps(line), flush=True)
        with (out / "log.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
        if scores["mean"] > best:
            best = scores["mean"]
            save_model(average.model, out / "best.safetensors", name="music")
        save_model(average.model, out / "last.safetensors", name="music")
        elapsed = spent + time.process_time() - begun
        state = {"model": model.state_dict(), "average": average.state_dict(), "optimiser": optimiser.state_dict()}
        torch.save({**state, "step": step, "spent": elapsed, "best": best}, out / "last.partial")
        (out / "last.partial").rename(out / "last.pt")
        stems, losses, checked = Stems(bands, model.num_bands, kept), [], time.process_time()
        if left <= 0:
            return

"""Separates recordings of any length, rate and channel layout with any model, in constant memory.

    blocks -> resample -> chunks -> model -> (sort speakers) -> overlap-add -> resample back -> stems

A model whose sources are exchangeable gives its speakers in any order, chunk by chunk. Its estimates then wait in a
temporary file until the whole recording has been heard and `tracking` knows who is who.
"""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch

from unbraid.audio.rate import Resampler
from unbraid.audio.recording import Recording
from unbraid.axes import Float, Tensor
from unbraid.errors import AudioReadError, ConfigError, DeviceError
from unbraid.models.contract import SeparationModel
from unbraid.separation.channels import gather_group, plan_groups, scatter_group
from unbraid.separation.device import choose_device
from unbraid.separation.events import Block, Event, Finished, Progress, Started
from unbraid.separation.inputs import Input, Reader, open_input
from unbraid.separation.joining import Joiner
from unbraid.separation.process import release_freed_memory
from unbraid.separation.speakers.sorting import KeepOrder, Sorter, SortOnline, SortRecording
from unbraid.separation.speakers.tracking import SpeakerTracker, align
from unbraid.separation.stems import Consistency, OtherMethod, StemPlan
from unbraid.signal.chunking import Chunk, ChunkCutter, Join, plan_chunks
from unbraid.weights.store import load_model

_BLOCK_SECONDS = 1.0
_EDGE_SECONDS = 0.1
"""ours: mirrored context at the two ends of a recording."""
_SILENCE = 1e-7
"""Below this peak (-140 dB) a chunk is silence, and so are its stems; no model is asked."""
_RELEASE_EVERY = 4
"""Chunks between two releases of freed memory."""
_LEVEL = 10 ** (-25 / 20)
"""RMS level at which models are trained and therefore asked, whatever the level of the recording."""


@dataclass(frozen=True)
class Separation(Mapping[str, Recording]):
    """The stems of a recording by name."""

    stems: dict[str, Recording]
    finished: Finished

    def __getitem__(self, name: str) -> Recording:
        return self.stems[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.stems)

    def __len__(self) -> int:
        return len(self.stems)


class Separator:
    """A model made ready for recordings. Build it once and use it for many."""

    def __init__(
        self,
        model: str | Path | SeparationModel = "speech",
        *,
        device: str = "auto",
        segment_seconds: float | None = None,
        overlap: float | None = None,
        join: Join = "fade",
        batch_size: int | None = None,
        shifts: int = 1,
        seed: int = 0,
        consistency: Consistency = "none",
        two_stems: str | None = None,
        other_method: OtherMethod = "add",
        remix: Mapping[str, float] | None = None,
        tracking: Literal["recording", "online"] = "recording",
        allow_truncated: bool = False,
        mend_samples: bool = False,
    ) -> None:
        """`model` is a bundled name, a weights file, or a model.

        segment_seconds: length of chunks, by default what the model's spec advises.
        overlap: fraction that neighbours share, by default a quarter, or half where they are averaged.
        join: "fade" leaves no seam; "average" is the plain mean of what two chunks share, as papers report figures.
        batch_size: chunks per call of the model, by default 1 on a CPU and 8 elsewhere.
        shifts: average over so many passes, each shifted in time by a seeded amount.
        remix: gains in dB by source; the stem "remix" is then the recording with these sources so much louder.
        tracking: sort speakers over the whole "recording", or "online" with what has been heard so far, which gives
        blocks out at once.
        """
        self.device = choose_device(device)
        self.model = (load_model(model) if isinstance(model, str | Path) else model).to(self.device).eval()
        self.spec = self.model.spec
        if segment_seconds is not None and segment_seconds < 0.1:
            raise ConfigError(f"segments of {segment_seconds} s are too short: choose at least 0.1 s")
        if shifts < 1:
            raise ConfigError(f"shifts is at least 1, not {shifts}")
        rate = self.spec.sample_rate
        chunk_samples = round((segment_seconds or self.spec.chunk_seconds) * rate)
        overlap = (0.25 if join == "fade" else 0.5) if overlap is None else overlap
        self.plan = plan_chunks(chunk_samples, overlap, round(_EDGE_SECONDS * rate), join)
        self.batch_size = batch_size or (1 if self.device.type == "cpu" else 8)
        self.stem_plan = StemPlan(
            sources=self.spec.sources,
            consistency=consistency,
            two_stems=two_stems,
            other_method=other_method,
            remix=remix or {},
        )
        offsets = np.random.default_rng(seed).integers(1, rate // 2, size=shifts - 1)
        self.offsets = [0, *offsets.tolist()]
        self.tracking = tracking
        self.allow_truncated, self.mend_samples = allow_truncated, mend_samples

    def separate(self, source: Input, sample_rate: int | None = None) -> Separation:
        """All stems in memory, with the recording's own rate, channels and length.

        `source` is a path, "-" for standard input, bytes, a file object, a Recording, or samples (channel, sample)
        with their `sample_rate` in Hz.
        """
        blocks: list[np.ndarray] = []
        rate, names, finished = 0, (), None
        for event in self.stream(source, sample_rate):
            match event:
                case Started():
                    rate, names = event.sample_rate, event.stems
                case Block():
                    blocks.append(event.samples)
                case Finished():
                    finished = event
        assert finished is not None
        stems = np.concatenate(blocks, axis=-1)
        return Separation({name: Recording(stem, rate) for name, stem in zip(names, stems, strict=True)}, finished)

    def stream(
        self, source: Input, sample_rate: int | None = None, *, scratch: Path | None = None
    ) -> Generator[Event, None, None]:
        """Separates step by step; every step is an event, and `Block` events carry the stems.

        Memory does not grow with the recording. Where speakers are sorted over the whole recording, their estimates
        wait in a temporary file below `scratch` (by default where the system keeps such files): about
        4 bytes x sources x channels x 1.4 x the model's rate per second. A recording of one chunk needs none.
        """
        reader = open_input(source, sample_rate, allow_truncated=self.allow_truncated, mend_samples=self.mend_samples)
        with closing(reader):
            yield from self._stream(reader, scratch)

    def _stream(self, reader: Reader, scratch: Path | None) -> Iterator[Event]:
        info = reader.info
        expected = None if info.expected_samples is None else info.expected_samples / info.sample_rate
        yield Started(
            name=info.name,
            sample_rate=info.sample_rate,
            num_channels=info.num_channels,
            expected_seconds=expected,
            stems=self.stem_plan.names,
            info=info,
        )
        tally = _Tally()
        sorter = self._sorter(scratch)
        with closing(Joiner(self.plan, self.spec.sample_rate, self.stem_plan, reader)) as joiner:
            for chunk, estimate in self._separated_chunks(reader, tally):
                for ready, ordered in sorter.push(chunk, estimate):
                    yield from joiner.push(ready, ordered, tally.samples)
                if chunk.index % _RELEASE_EVERY == _RELEASE_EVERY - 1:
                    release_freed_memory()
                done = tally.samples / info.sample_rate
                yield Progress(stage="separate", done_seconds=done, expected_seconds=expected)
            for ready, ordered in sorter.finish():
                for block in joiner.push(ready, ordered, tally.samples):
                    yield block
                    done = (block.start_sample + block.samples.shape[-1]) / info.sample_rate
                    total = tally.samples / info.sample_rate
                    yield Progress(stage="join", done_seconds=done, expected_seconds=total)
            yield from joiner.finish(tally.samples)
        yield Finished(
            num_samples=tally.samples,
            uncertain_joins=sorter.uncertain_joins,
            heard_seconds=sorter.heard_seconds,
            model_seconds=tally.model_seconds,
        )

    def _separated_chunks(
        self, reader: Reader, tally: _Tally
    ) -> Iterator[tuple[Chunk, Float[Tensor, "source channel sample"]]]:
        """Every chunk of the recording and the model's estimates for it, in the model's order of sources."""
        info = reader.info
        resampler = Resampler(info.sample_rate, self.spec.sample_rate, info.num_channels)
        cutter = ChunkCutter(self.plan)
        queue: list[Chunk] = []
        groups = plan_groups(info.num_channels, self.spec.num_channels)
        for block in reader.blocks(max(1, round(_BLOCK_SECONDS * info.sample_rate))):
            tally.samples += block.shape[-1]
            queue += cutter.push(torch.from_numpy(np.ascontiguousarray(resampler.push(block))))
            while len(queue) >= self.batch_size:
                batch, queue = queue[: self.batch_size], queue[self.batch_size :]
                yield from self._run(batch, groups, tally)
        if tally.samples == 0:
            raise AudioReadError(f"{info.name} holds no samples; there is nothing to separate")
        queue += cutter.push(torch.from_numpy(np.ascontiguousarray(resampler.finish()))) + cutter.finish()
        for start in range(0, len(queue), self.batch_size):
            yield from self._run(queue[start : start + self.batch_size], groups, tally)

    def _run(
        self, batch: list[Chunk], groups: tuple[tuple[int, ...], ...], tally: _Tally
    ) -> Iterator[tuple[Chunk, Tensor]]:
        """Chunks through the model, together where they are equally long."""
        lengths = {chunk.samples.shape[-1] for chunk in batch}
        if len(lengths) > 1:
            yield from self._run(batch[:-1], groups, tally)
            yield from self._run(batch[-1:], groups, tally)
            return
        began = time.perf_counter()
        # Channels that are equal, as in a mono recording stored in stereo, go through the model once.
        single = all(bool((chunk.samples == chunk.samples[:1]).all()) for chunk in batch)
        used = groups[:1] if single else groups
        rows = torch.stack(
            [gather_group(chunk.samples, group, self.spec.num_channels) for chunk in batch for group in used]
        )
        estimates = self._estimate(rows).unflatten(0, (len(batch), len(used)))
        tally.model_seconds += time.perf_counter() - began
        num_channels = sum(len(group) for group in groups)
        for chunk, estimate in zip(batch, estimates, strict=True):
            if single:
                yield chunk, estimate[0].mean(dim=1, keepdim=True).expand(-1, num_channels, -1)
                continue
            whole = estimate.new_empty(self.spec.num_sources, num_channels, estimate.shape[-1])
            for group, part in zip(groups, estimate, strict=True):
                whole[:, list(group)] = scatter_group(part, group)
            yield chunk, whole

    def _estimate(self, rows: Float[Tensor, "row channel sample"]) -> Float[Tensor, "row source channel sample"]:
        """The model at its own level, averaged over shifts; silence is not asked for."""
        result = rows.new_zeros(rows.shape[0], self.spec.num_sources, *rows.shape[1:])
        heard = rows.abs().amax(dim=(1, 2)) > _SILENCE
        if not heard.any():
            return result
        mixture = rows[heard]
        level = mixture.square().mean(dim=(1, 2), keepdim=True).sqrt() / _LEVEL
        scaled = mixture / level
        total = self._call(scaled)
        count = torch.ones(scaled.shape[-1])
        for offset in self.offsets[1:]:
            if offset >= scaled.shape[-1]:
                continue
            shifted = self._call(scaled[..., offset:])
            if self.spec.exchangeable:
                shifted = torch.stack(
                    [new[list(align(new, old[..., offset:]))] for new, old in zip(shifted, total, strict=True)]
                )
            total[..., offset:] += shifted
            count[offset:] += 1
        result[heard] = total / count * level.unsqueeze(1)
        return result

    def _call(self, rows: Float[Tensor, "row channel sample"]) -> Float[Tensor, "row source channel sample"]:
        """One call of the model; out of memory, the rows are halved until a single one does not fit."""
        try:
            with torch.inference_mode():
                estimates = self.model(rows.to(self.device)).float().cpu()
            return estimates.clone()  # out of inference mode, so that it may be changed in place
        except (torch.OutOfMemoryError, MemoryError) as error:
            if rows.shape[0] == 1:
                raise DeviceError(
                    f"a chunk of {rows.shape[-1] / self.spec.sample_rate:.1f} s does not fit into the memory of "
                    f"{self.device}",
                    remedy='choose smaller `segment_seconds`, or `device="cpu"`',
                ) from error
            if self.device.type == "cuda":
                torch.cuda.empty_cache()
        half = rows.shape[0] // 2
        return torch.cat([self._call(rows[:half]), self._call(rows[half:])])

    def _sorter(self, scratch: Path | None) -> Sorter:
        if not self.spec.exchangeable:
            return KeepOrder()
        tracker = SpeakerTracker(self.spec.num_sources, self.spec.sample_rate, self.plan.overlap)
        return SortOnline(tracker) if self.tracking == "online" else SortRecording(tracker, scratch)


class _Tally:
    """What is counted along the way."""

    samples = 0
    """Read so far, per channel."""
    model_seconds = 0.0

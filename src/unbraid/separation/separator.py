"""Separates recordings of any length, rate and channel layout with any model, in constant memory.

    Intake (read, resample) -> chunks -> ModelRunner -> Sorter (of speakers) -> Joiner (add up, resample back, stems)

A model whose sources are exchangeable gives its speakers in any order, chunk by chunk. Its estimates then wait in a
temporary file until the whole recording has been heard and `tracking` knows who is who.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import closing
from copy import deepcopy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from torch import nn

from unbraid.audio.reading import AudioReader
from unbraid.audio.recording import Recording
from unbraid.audio.sources import SourceFacts
from unbraid.axes import Tensor
from unbraid.errors import ConfigError
from unbraid.models.compiling import compile_parts
from unbraid.models.contract import ModelSpec, SeparationModel
from unbraid.separation.channels import plan_groups
from unbraid.separation.compositions.composite import BlendOfModels, Composite, build_composite
from unbraid.separation.compositions.syntax import (
    Blend,
    Chain,
    Composition,
    OneModel,
    is_composition,
    parse_composition,
)
from unbraid.separation.config import SeparationConfig
from unbraid.separation.device import choose_device, choose_precision, deterministic_steps, is_on
from unbraid.separation.events import Block, Event, Finished, Progress, Started
from unbraid.separation.inference.model_calls import ModelCalls
from unbraid.separation.inference.runner import ModelRunner, Separated
from unbraid.separation.inputs import Input, Intake, Lookback, Reader, open_input
from unbraid.separation.joining import Joiner
from unbraid.separation.level import open_level
from unbraid.separation.process import release_freed_memory
from unbraid.separation.speakers.online import OnlineTracker
from unbraid.separation.speakers.pieces import can_track
from unbraid.separation.speakers.sorting import KeepOrder, Sorter, SortOnline, SortRecording
from unbraid.separation.speakers.tracking import RecordingTracker
from unbraid.separation.stems import StemPlan
from unbraid.signal.chunking import Chunk, ChunkCutter, ChunkPlan, plan_chunks, plan_whole
from unbraid.weights.store import load_model

_E = TypeVar("_E")

_EDGE_SECONDS = 0.1
"""ours: mirrored context at the two ends of a recording."""
_RELEASE_EVERY = 4
"""Chunks between two releases of freed memory."""


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
        model: str | Path | SeparationModel | Composition = "speech",
        *,
        device: str = "auto",
        config: SeparationConfig | None = None,
        calls: ModelCalls | None = None,
        **settings: Any,
    ) -> None:
        """`model` is a bundled name, a weights file, a model, or several as one ("a+b", see `compositions.syntax`);
        `settings` are the fields of `SeparationConfig`, or `config` has them all; `calls` is the way to the models,
        where several separators share it.

        A model of yours stays as it is: it is asked in evaluation mode and then is in the mode that it was in, and
        where `device` is another than its own, a copy of it goes there.
        """
        if config is not None and settings:
            raise ConfigError(f"config holds all settings: put {', '.join(settings)} into it")
        config = SeparationConfig.of(settings) if config is None else config
        self.device = choose_device(device)
        if isinstance(model, str) and is_composition(model):
            model = parse_composition(model)
        if isinstance(model, OneModel):
            model = model.name
        precision = choose_precision(config.precision, self.device)
        most_chunks = config.batch_size or _batch_size(self.device)
        self.calls = calls or ModelCalls(self.device, most_chunks, precision, deterministic=config.deterministic)
        """The way to the model, which recordings that are separated side by side share."""
        self.composite: Composite | None = None
        """Several models as one; None where it is one."""
        self.model: SeparationModel | nn.ModuleList
        if isinstance(model, Blend | Chain):
            members: list[Separator] = []
            self.composite = build_composite(model, lambda one: self._member(one, config, members))
            self.model = nn.ModuleList(member.model for member in members)
            self.spec = self.composite.spec
        else:
            if config.backend == "onnxruntime":
                model = _with_onnxruntime(model, self.device)
            elif isinstance(model, str | Path):
                model = load_model(model).to(self.device)
            elif not is_on(model, self.device) or config.compile:
                model = deepcopy(model).to(self.device)
            if config.compile:
                compile_parts(model)
            self.model, self.spec = model, model.spec
        self.stem_plan = StemPlan(sources=self.spec.sources, config=config)
        self.given_config = config
        """With what is left open still open, as another device may fill it in otherwise."""
        resolved = _resolved(config, self.spec, self.device)
        self.config = resolved if self.composite is None else config
        """Every setting with its value, also those that were left open, which of several models each fills in."""
        self.plan = _plan(resolved, self.spec.sample_rate)
        shifts = np.random.default_rng(config.seed).integers(1, self.spec.sample_rate // 2, size=config.shifts - 1)
        self.offsets: list[int] = shifts.tolist()
        """Of the passes after the first, in samples at the model's rate."""

    def _member(self, composition: Composition, config: SeparationConfig, members: list[Separator]) -> Separator:
        """A part of several models as one: what is made of the estimates is made of the joint ones."""
        plain = replace(
            config,
            two_stems=None,
            other_method="add",
            remix=None,
            consistency="none",
            start_seconds=None,
            duration_seconds=None,
            preview_seconds=None,
        )
        members.append(Separator(composition, device=str(self.device), config=plain, calls=self.calls))
        return members[-1]

    @property
    def remarks(self) -> tuple[str, ...]:
        """What users should know of the models, each in one sentence."""
        if isinstance(self.composite, BlendOfModels) and self.composite.left_out:
            return (f"stems that only some of the models have are left out: {', '.join(self.composite.left_out)}",)
        return ()

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

    def reproducible(self, steps: Generator[_E, None, None]) -> Generator[_E, None, None]:
        """Steps of work on this separator's stems, deterministic where its config wants them so."""
        return deterministic_steps(steps) if self.config.deterministic else steps

    def stream(
        self, source: Input, sample_rate: int | None = None, *, scratch: Path | None = None
    ) -> Generator[Event, None, None]:
        """Separates step by step; every step is an event, and `Block` events carry the stems.

        Memory does not grow with the recording. Where speakers are sorted over the whole recording, their estimates
        wait in a temporary file below `scratch` (by default where the system keeps such files): about
        4 bytes x sources x channels x 1.4 x the model's rate per second. A recording of one chunk needs none.
        """
        config = self.config
        reader = open_input(
            source,
            sample_rate,
            allow_truncated=config.allow_truncated,
            replace_nonfinite=config.replace_nonfinite,
            track=config.track,
            passage=config.passage,
            raw=config.raw,
        )
        with closing(reader):
            yield from self.reproducible(self._stream(reader, scratch))

    def _stream(self, reader: Reader, scratch: Path | None) -> Generator[Event, None, None]:
        info = reader.info
        expected = None if info.expected_samples is None else info.expected_samples / info.sample_rate
        yield Started(
            name=info.name,
            sample_rate=info.sample_rate,
            num_channels=info.num_channels,
            expected_seconds=expected,
            stems=self.stem_plan.names,
            info=info,
            cover=reader.cover() if isinstance(reader, AudioReader) else None,
        )
        if self.composite is not None:
            yield from self._stream_composite(self.composite, reader, scratch)
            return
        intake, sorter = Intake(reader, self.spec.sample_rate), self._sorter(scratch)
        runner = self._runner(reader)
        with closing(Joiner(self.plan, self.spec.sample_rate, self.stem_plan, reader)) as joiner:
            for chunk, estimate in self._separated_chunks(intake, runner):
                for ready, ordered in sorter.push(chunk, estimate):
                    yield from joiner.push(ready, ordered, intake.num_samples)
                if chunk.index % _RELEASE_EVERY == _RELEASE_EVERY - 1:
                    release_freed_memory()
                done = intake.num_samples / info.sample_rate
                yield Progress(stage="separate", done_seconds=done, expected_seconds=expected)
            for ready, ordered in sorter.finish():
                for block in joiner.push(ready, ordered, intake.num_samples):
                    yield block
                    done = (block.start_sample + block.samples.shape[-1]) / info.sample_rate
                    total = intake.num_samples / info.sample_rate
                    yield Progress(stage="join", done_seconds=done, expected_seconds=total)
            yield from joiner.finish(intake.num_samples)
        yield Finished(
            num_samples=intake.num_samples,
            uncertain_joins=sorter.uncertain_joins,
            heard_seconds=sorter.heard_seconds,
            model_seconds=runner.seconds,
            source=_facts(reader),
        )

    def _stream_composite(self, composite: Composite, reader: Reader, scratch: Path | None) -> Iterator[Event]:
        """As of one model, whose estimates come at the recording's rate already."""
        num_samples = 0
        mixture = Lookback(reader.reopen()) if self.stem_plan.needs_mixture else None
        with closing(composite.estimates(reader, scratch)) as events, closing(mixture or reader):
            while True:
                try:
                    event = next(events)
                except StopIteration as stop:
                    summary = stop.value
                    break
                if isinstance(event, Block):
                    length = event.samples.shape[-1]
                    heard = None if mixture is None else mixture.read(length)
                    event = Block(start_sample=num_samples, samples=self.stem_plan.apply(event.samples, heard))
                    num_samples += length
                yield event
        yield Finished(
            num_samples=num_samples,
            uncertain_joins=summary.uncertain_joins,
            heard_seconds=summary.heard_seconds,
            model_seconds=summary.model_seconds,
            source=_facts(reader),
        )

    def _separated_chunks(self, intake: Intake, runner: ModelRunner) -> Separated:
        """Every chunk of the recording and the model's estimates for it, in the model's order of sources.

        While the model is busy elsewhere, or with one batch, the next is read already.
        """
        asked = deque[Callable[[], Separated]]()
        for batch in self._batches(intake):
            asked.append(runner.begin(batch))
            if len(asked) > self.calls.is_served:
                yield from asked.popleft()()
        while asked:
            yield from asked.popleft()()

    def _batches(self, intake: Intake) -> Iterator[list[Chunk]]:
        size = self.config.batch_size
        assert size is not None
        cutter, queue = ChunkCutter(self.plan), list[Chunk]()
        for block in intake.blocks():
            queue += cutter.push(block)
            while len(queue) >= size:
                batch, queue = queue[:size], queue[size:]
                yield batch
        queue += cutter.finish()
        yield from (queue[start : start + size] for start in range(0, len(queue), size))

    def _runner(self, reader: Reader) -> ModelRunner:
        groups = plan_groups(reader.info.num_channels, self.spec.num_channels)

        def first_pass() -> Iterator[Tensor]:
            with closing(reader.reopen()) as again:
                yield from Intake(again, self.spec.sample_rate).blocks()

        refine_from_hz = self.config.refine_from_hz if self.config.refine == "wiener" else None
        level = open_level(self.spec, groups, first_pass, self.config.input_level)
        assert isinstance(self.model, SeparationModel)
        return ModelRunner(self.model, self.calls, groups, level, self.offsets, refine_from_hz)

    def _sorter(self, scratch: Path | None) -> Sorter:
        spec = self.spec
        # One chunk has no neighbours: there, who cannot be tracked need not be.
        if not spec.exchangeable or (self.plan.is_whole and not can_track(spec.num_sources, spec.sample_rate)):
            return KeepOrder()
        sizes = spec.num_sources, spec.sample_rate, self.plan.overlap
        if self.config.tracking == "online":
            return SortOnline(OnlineTracker(*sizes))
        return SortRecording(RecordingTracker(*sizes), scratch)


def _with_onnxruntime(model: str | Path | SeparationModel, device: torch.device) -> SeparationModel:
    from unbraid.separation.backends.onnxruntime import load_with_onnxruntime

    if not isinstance(model, str | Path):
        raise ConfigError("onnxruntime takes a model by its name or file", remedy='choose `backend="torch"`')
    if device.type != "cpu":
        raise ConfigError(f"onnxruntime runs models on a CPU, not on {device}", remedy='choose `device="cpu"`')
    return load_with_onnxruntime(model)


def _facts(reader: Reader) -> SourceFacts | None:
    """What was read. Stems of a file that was written to meanwhile are of neither version, and refused here."""
    return reader.facts() if isinstance(reader, AudioReader) else None


def _resolved(config: SeparationConfig, spec: ModelSpec, device: torch.device) -> SeparationConfig:
    """The config with what was left open filled in."""
    segment = spec.chunk_seconds if config.segment_seconds is None else config.segment_seconds
    overlap = (0.25 if config.join == "fade" else 0.5) if config.overlap is None else config.overlap
    batch_size = 1 if config.deterministic else config.batch_size or _batch_size(device)
    return replace(
        config,
        segment_seconds=segment,
        overlap=None if segment == "whole" else overlap,
        batch_size=batch_size,
        refine=spec.refine if config.refine is None else config.refine,
        refine_from_hz=spec.refine_from_hz if config.refine_from_hz is None else config.refine_from_hz,
    )


def _batch_size(device: torch.device) -> int:
    return 1 if device.type == "cpu" else 8


def _plan(config: SeparationConfig, sample_rate: int) -> ChunkPlan:
    """Of a config without anything left open."""
    if config.segment_seconds == "whole":
        return plan_whole()
    assert config.segment_seconds is not None
    assert config.overlap is not None
    chunk_samples = round(config.segment_seconds * sample_rate)
    return plan_chunks(chunk_samples, config.overlap, round(_EDGE_SECONDS * sample_rate), config.join)

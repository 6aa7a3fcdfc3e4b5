"""Runs a composition on a recording: every model by a Separator of its own, and their blocks of stems joined.

A member has the recording's rate, channels and length already when it is joined, so that models of any rate go together
and the mean of two models is exactly the mean of what each gives alone. What has to wait for a later step, or for the
end of the recording, waits in a file.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
import torch

from unbraid.errors import ConfigError, UnknownNameError
from unbraid.models.contract import ModelSpec
from unbraid.separation.compositions.combining import Combiner
from unbraid.separation.compositions.spool import Spool, StemReader
from unbraid.separation.compositions.syntax import Blend, Chain, Composition, Step
from unbraid.separation.events import Block, Event, Finished, Progress
from unbraid.separation.inputs import Reader
from unbraid.signal.assignment import cheapest_assignment


@runtime_checkable
class Member(Protocol):
    """What a composition is made of: in practice a Separator, of one model or of a composition."""

    @property
    def spec(self) -> ModelSpec: ...

    def stream(self, source: Reader, *, scratch: Path | None = None) -> Generator[Event, None, None]: ...


BuildMember = Callable[[Composition], Member]


@dataclass(frozen=True)
class Summary:
    """What is known when all blocks are out."""

    uncertain_joins: int | None
    heard_seconds: tuple[float, ...] | None
    model_seconds: float


Estimates = Generator[Progress | Block, None, Summary]
"""Estimates of all sources as blocks at the recording's rate."""


class BlendOfModels:
    """Models that hear the same recording in step, and one estimate of each stem that all of them have."""

    def __init__(self, blend: Blend, build: BuildMember) -> None:
        self.blend = blend
        self.members = tuple(build(member) for member in blend.members)
        specs = [member.spec for member in self.members]
        exchangeable = specs[0].exchangeable
        names = [str(member) for member in blend.members]
        for name, spec in zip(names, specs, strict=True):
            if spec.exchangeable != exchangeable:
                raise ConfigError(f"{names[0]} and {name} do not go together: only one of them separates speakers")
            if exchangeable and spec.num_sources != specs[0].num_sources:
                raise ConfigError(
                    f"{names[0]} and {name} do not go together: they separate {specs[0].num_sources} and "
                    f"{spec.num_sources} speakers"
                )
        common = specs[0].sources
        if not exchangeable:
            common = tuple(name for name in common if all(name in spec.sources for spec in specs))
        if not common:
            lists = "; ".join(f"{name}: {', '.join(spec.sources)}" for name, spec in zip(names, specs, strict=True))
            raise ConfigError(f"the models of an ensemble have no stem in common ({lists})")
        self.left_out = tuple(
            dict.fromkeys(name for spec in specs for name in spec.sources if not exchangeable and name not in common)
        )
        """Stems that only some of the models have."""
        self.spec = _joint_spec(specs, common, exchangeable=exchangeable)
        self._rows = [
            list(range(len(common))) if exchangeable else [spec.sources.index(name) for name in common]
            for spec in specs
        ]

    def estimates(self, reader: Reader, scratch: Path | None) -> Estimates:
        with ExitStack() as stack:
            streams = [
                stack.enter_context(closing(member.stream(reader.reopen(), scratch=scratch))) for member in self.members
            ]
            together = _Together(streams, self._rows)
            blocks: Iterator[Progress | np.ndarray] = together.run()
            if self.spec.exchangeable and len(self.members) > 1:
                num_rows = len(streams) * self.spec.num_sources * _channels(reader)
                spool = stack.enter_context(closing(Spool(num_rows, scratch)))
                blocks = self._aligned(blocks, spool, _channels(reader))
            yield from self._combined(blocks, reader)
        return _summary(together.finished, first_only=True)

    def _combined(self, blocks: Iterator[Progress | np.ndarray], reader: Reader) -> Iterator[Progress | Block]:
        combiner = Combiner(
            self.blend.how,
            self.blend.domain,
            self.blend.weights,
            reader.info.sample_rate,
            [member.spec.sample_rate for member in self.members],
        )
        shape, position = (len(self.spec.sources), _channels(reader), -1), 0
        for block in blocks:
            if isinstance(block, Progress):
                yield block
                continue
            ready = combiner.push(block.reshape(len(block), -1, block.shape[-1])).reshape(shape)
            if ready.shape[-1]:
                yield Block(start_sample=position, samples=ready)
                position += ready.shape[-1]
        rest = combiner.finish()
        if rest is not None and rest.shape[-1]:
            yield Block(start_sample=position, samples=rest.reshape(shape))

    def _aligned(
        self, blocks: Iterator[Progress | np.ndarray], spool: Spool, num_channels: int
    ) -> Iterator[Progress | np.ndarray]:
        """Speakers of every model in the order of the first model's, as they agree best over the whole recording."""
        count, sources = len(self.members), len(self.spec.sources)
        alike = np.zeros((count, sources, sources))
        for block in blocks:
            if isinstance(block, Progress):
                yield block
                continue
            first = block[0].reshape(sources, -1).astype(np.float64)
            alike += np.einsum("msn,tn->mst", block.reshape(count, sources, -1), first, optimize=True)
            spool.write(block.reshape(spool.num_rows, -1))
        orders = cheapest_assignment(torch.from_numpy(-alike)).numpy()
        for piece in spool.pieces():
            apart = piece.reshape(count, sources, num_channels, -1)
            yield np.stack([one[order] for one, order in zip(apart, orders, strict=True)])


class ChainOfModels:
    """Models one after the other, each on a stem of those before."""

    def __init__(self, chain: Chain, build: BuildMember) -> None:
        self.members = tuple(build(step.model) for step in chain.steps)
        self._plans: list[_StepPlan] = []
        stems: tuple[str, ...] = ()
        for number, (step, member) in enumerate(zip(chain.steps, self.members, strict=True)):
            plan = _plan_step(step, member.spec.sources, stems, is_first=number == 0)
            self._plans.append(plan)
            stems = plan.stems
        specs = [member.spec for member in self.members]
        only = len(self.members) == 1
        self.spec = _joint_spec(specs, stems, exchangeable=only and specs[0].exchangeable and stems == specs[0].sources)

    def estimates(self, reader: Reader, scratch: Path | None) -> Estimates:
        finished: list[Finished] = []
        spool: Spool | None = None
        before: tuple[str, ...] = ()
        channels = _channels(reader)
        count = len(self.members)
        try:
            for number, (plan, member) in enumerate(zip(self._plans, self.members, strict=True)):
                heard: Reader
                if spool is None:
                    heard = reader.reopen()
                else:
                    at = before.index(plan.on) * channels
                    heard = StemReader(spool, slice(at, at + channels), reader.info, plan.on)
                waiting = Spool(len(plan.stems) * channels, scratch) if number < count - 1 else None
                with closing(member.stream(heard, scratch=scratch)) as events:
                    for event in events:
                        match event:
                            case Progress():
                                yield _part_of_progress(event, number, count)
                            case Block():
                                samples = plan.place(event, spool, channels)
                                if waiting is None:
                                    yield Block(start_sample=event.start_sample, samples=samples)
                                else:
                                    waiting.write(samples.reshape(waiting.num_rows, -1))
                            case Finished():
                                finished.append(event)
                if spool is not None:
                    spool.close()
                spool, before = waiting, plan.stems
        finally:
            if spool is not None:
                spool.close()
        return _summary(finished, first_only=count == 1)


@dataclass(frozen=True, kw_only=True)
class _StepPlan:
    """Where the stems after a step come from."""

    on: str
    stems: tuple[str, ...]
    old_rows: tuple[int, ...]
    """Places, among the stems before, of those that stay; they come first."""
    new_rows: tuple[int, ...]
    """Places, among what the model gives, of those that are kept."""

    def place(self, block: Block, spool: Spool | None, num_channels: int) -> np.ndarray:
        new = block.samples[list(self.new_rows)]
        if spool is None or not self.old_rows:
            return new
        length = block.samples.shape[-1]
        old = spool.read(block.start_sample, length).reshape(-1, num_channels, length)
        return np.concatenate([old[list(self.old_rows)], new])


def _plan_step(step: Step, given: tuple[str, ...], stems: tuple[str, ...], *, is_first: bool) -> _StepPlan:
    for name in step.keep or ():
        if name not in given:
            raise UnknownNameError(f"{step.model} has no stem '{name}'; it has: {', '.join(given)}")
    on = step.on
    if not is_first and on is None:
        if len(stems) != 1:
            raise ConfigError(
                f"{step.model} needs to be told which stem it separates of {', '.join(stems)}",
                remedy=f"write  {step.model} on {stems[0]}",
            )
        on = stems[0]
    if not is_first and on not in stems:
        raise UnknownNameError(f"there is no stem '{on}' for {step.model}; there are: {', '.join(stems)}")
    old = tuple(place for place, name in enumerate(stems) if name != on)
    staying = [stems[place] for place in old]
    kept = step.keep or given
    # A stem of the second model may be called as one of the first that stays: "other of vocals".
    named = [f"{name} of {on}" if name in staying else name for name in kept]
    if set(named) & set(staying):
        raise ConfigError(f"two stems of a chain would be called {(set(named) & set(staying)).pop()}")
    return _StepPlan(
        on=on or "",
        stems=(*staying, *named),
        old_rows=old,
        new_rows=tuple(given.index(name) for name in kept),
    )


class _Together:
    """Streams in step: whichever is behind goes on, so that no more than a block of each waits."""

    def __init__(self, streams: Sequence[Iterator[Event]], rows: Sequence[list[int]]) -> None:
        self._streams, self._rows = streams, rows
        self._finished: dict[int, Finished] = {}

    @property
    def finished(self) -> list[Finished]:
        """In the order of the streams."""
        return [self._finished[index] for index in range(len(self._streams))]

    def run(self) -> Iterator[Progress | np.ndarray]:
        """Arrays (member, source, channel, sample), and how far all are together."""
        count = len(self._streams)
        queues = [deque[np.ndarray]() for _ in range(count)]
        waiting, positions, done = [0] * count, [0] * count, [0.0] * count
        open_streams = set(range(count))
        while open_streams:
            behind = min(open_streams, key=lambda index: (positions[index], done[index]))
            event = next(self._streams[behind], None)
            match event:
                case None:
                    open_streams.discard(behind)
                case Progress() if event.stage == "separate":
                    done[behind] = event.done_seconds
                    yield replace(event, done_seconds=sum(done) / count)
                case Block():
                    queues[behind].append(event.samples[self._rows[behind]])
                    waiting[behind] += event.samples.shape[-1]
                    positions[behind] += event.samples.shape[-1]
                case Finished():
                    self._finished[behind] = event
            ready = min(waiting)
            if ready:
                yield np.stack([_take(queue, ready) for queue in queues])
                waiting = [number - ready for number in waiting]


def _take(queue: deque[np.ndarray], count: int) -> np.ndarray:
    parts, missing = [], count
    while missing:
        block = queue.popleft()
        if block.shape[-1] > missing:
            queue.appendleft(block[..., missing:])
            block = block[..., :missing]
        parts.append(block)
        missing -= block.shape[-1]
    return np.concatenate(parts, axis=-1)


Composite = BlendOfModels | ChainOfModels


def build_composite(composition: Blend | Chain, build: BuildMember) -> Composite:
    """All models of it are loaded here and stay in memory together."""
    return BlendOfModels(composition, build) if isinstance(composition, Blend) else ChainOfModels(composition, build)


def _channels(reader: Reader) -> int:
    return reader.info.num_channels


def _part_of_progress(progress: Progress, number: int, count: int) -> Progress:
    """That of one of several steps, as that of all."""
    expected = progress.expected_seconds
    if expected is None:
        return replace(progress, stage="separate", done_seconds=progress.done_seconds / count)
    share = 1.0 if progress.stage == "join" else min(1.0, progress.done_seconds / max(expected, 1e-9))
    return Progress(stage="separate", done_seconds=expected * (number + share) / count, expected_seconds=expected)


def _joint_spec(specs: Sequence[ModelSpec], sources: tuple[str, ...], *, exchangeable: bool) -> ModelSpec:
    return ModelSpec(
        sample_rate=max(spec.sample_rate for spec in specs),
        num_channels=max(spec.num_channels for spec in specs),
        sources=sources,
        exchangeable=exchangeable,
        chunk_seconds=max(spec.chunk_seconds for spec in specs),
        level="as-given",
    )


def _summary(finished: Sequence[Finished], *, first_only: bool) -> Summary:
    joins = [one.uncertain_joins for one in finished if one.uncertain_joins is not None]
    return Summary(
        uncertain_joins=max(joins) if joins else None,
        heard_seconds=finished[0].heard_seconds if first_only else None,
        model_seconds=sum(one.model_seconds for one in finished),
    )

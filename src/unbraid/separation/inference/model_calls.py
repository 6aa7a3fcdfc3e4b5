"""Calls of models: one at a time on a device, and shared where recordings separated side by side ask for the same.

Alone, whoever asks runs the model. While somebody serves, requests are handed over to the server, which joins rows of
equal length of several recordings to one call, and meanwhile those who asked read, sort and write.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field

import torch
from torch import nn

from unbraid.axes import Float, Tensor
from unbraid.errors import ConfigError, DeviceError
from unbraid.models.contract import SeparationModel
from unbraid.separation.device import is_out_of_memory, lacks_determinism, one_way


@dataclass(frozen=True)
class Answer:
    """What came out of the model."""

    estimates: Float[Tensor, "row source channel sample"]
    seconds: float
    """Wall time of the call, shared out among those who had rows in it."""


@dataclass(frozen=True, eq=False)
class Request:
    """Rows of one recording that wait for their model."""

    model: SeparationModel
    rows: Float[Tensor, "row channel sample"]
    num_chunks: int
    future: Future[Answer] = field(default_factory=Future)

    def goes_with(self, other: Request) -> bool:
        """Whether one call can have the rows of both."""
        return self.model is other.model and self.rows.shape[1:] == other.rows.shape[1:]


class ModelCalls:
    """The way to the models on one device, safe to use from several threads."""

    def __init__(
        self,
        device: torch.device,
        most_chunks: int = 1,
        precision: torch.dtype = torch.float32,
        *,
        deterministic: bool = False,
    ) -> None:
        """`most_chunks` go through a model together, unless one recording asks for more by itself; `precision` is that
        of its products, float32 or bfloat16; `deterministic`, each row goes alone."""
        self.device, self.most_chunks, self.precision = device, most_chunks, precision
        self.deterministic = deterministic
        self._lock = threading.Lock()
        self._hand_over: Callable[[Request], None] | None = None

    @property
    def is_served(self) -> bool:
        """Whether an answer comes later, and it pays to prepare the next request meanwhile."""
        return self._hand_over is not None

    def submit(self, model: SeparationModel, rows: Float[Tensor, "row channel sample"], num_chunks: int) -> Request:
        """Ask for the estimates of some rows; the request's future has them when the model has run."""
        request = Request(model, rows, num_chunks)
        if self._hand_over is not None:
            self._hand_over(request)
        else:
            with self._lock:
                request.future.set_result(self._run([request])[0])
        return request

    @contextmanager
    def handed_over(self, hand_over: Callable[[Request], None]) -> Iterator[None]:
        """While the block lasts, requests go there; `answer` is then called for them in turn."""
        assert self._hand_over is None, "somebody serves already"
        self._hand_over = hand_over
        try:
            yield
        finally:
            self._hand_over = None

    def answer(self, waiting: deque[Request]) -> None:
        """Takes the first of the waiting requests, and those that go with it, and runs the model."""
        first = waiting.popleft()
        batch, others, num_chunks = [first], list[Request](), first.num_chunks
        while waiting and num_chunks < self.most_chunks:
            request = waiting.popleft()
            if request.goes_with(first) and num_chunks + request.num_chunks <= self.most_chunks:
                batch.append(request)
                num_chunks += request.num_chunks
            else:
                others.append(request)
        waiting.extendleft(reversed(others))
        try:
            answers = self._run(batch)
        except Exception as error:
            for request in batch:
                request.future.set_exception(error)
            return
        except BaseException:
            for request in batch:
                request.future.cancel()
            raise
        for request, answer in zip(batch, answers, strict=True):
            request.future.set_result(answer)

    def _run(self, batch: list[Request]) -> list[Answer]:
        began = time.perf_counter()
        rows = batch[0].rows if len(batch) == 1 else torch.cat([request.rows for request in batch])
        model = batch[0].model
        if self.deterministic:
            with one_way():
                estimates = torch.cat([call_model(model, self.device, row, self.precision) for row in rows.split(1)])
        else:
            estimates = call_model(model, self.device, rows, self.precision)
        seconds = time.perf_counter() - began
        parts = estimates.split([request.rows.shape[0] for request in batch])
        return [Answer(part, seconds * part.shape[0] / rows.shape[0]) for part in parts]


def call_model(
    model: SeparationModel,
    device: torch.device,
    rows: Float[Tensor, "row channel sample"],
    precision: torch.dtype = torch.float32,
) -> Float[Tensor, "row source channel sample"]:
    """One call of the model; out of memory, the rows are halved until a single one does not fit."""
    # Whoever has switched gradients off already, as a trainer that validates, keeps the way in which it did so.
    without_gradients = torch.inference_mode() if torch.is_grad_enabled() else torch.no_grad()
    mixed = torch.autocast(device.type, precision) if precision == torch.bfloat16 else nullcontext()
    try:
        with evaluating(model), without_gradients, mixed:
            estimates = model(rows.to(device)).float().cpu()
    except (RuntimeError, MemoryError) as error:
        if lacks_determinism(error):
            raise DeviceError(
                f"a part of the model has no deterministic form on {device}",
                remedy='choose `device="cpu"`, or leave `deterministic` off',
            ) from error
        if not is_out_of_memory(error):
            raise
        if rows.shape[0] == 1:
            raise DeviceError(
                f"a chunk of {rows.shape[-1] / model.spec.sample_rate:.1f} s does not fit into the memory of {device}",
                remedy='choose smaller `segment_seconds`, or `device="cpu"`',
            ) from error
        if device.type == "cuda":
            torch.cuda.empty_cache()
    else:
        expected = (rows.shape[0], model.spec.num_sources, *rows.shape[1:])
        if tuple(estimates.shape) != expected:
            raise ConfigError(
                f"{type(model).__name__} gives estimates of shape {tuple(estimates.shape)} and its spec "
                f"promises {expected}",
                remedy="mend one of them",
            )
        return estimates.clone()  # out of inference mode, so that it may be changed in place
    half = rows.shape[0] // 2
    return torch.cat([call_model(model, device, part, precision) for part in (rows[:half], rows[half:])])


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """A model in evaluation mode for as long as the block lasts; every module is then in the mode it was in."""
    training = [module for module in _parts(model) if module.training]
    for module in training:
        module.training = False
    try:
        yield
    finally:
        for module in training:
            module.training = True


def _parts(model: nn.Module) -> list[nn.Module]:
    """The model and everything in it, as `modules` gives them, which puts a name together for each."""
    parts, met = [model], {model}
    for part in parts:
        inside = [child for child in part._modules.values() if child is not None and child not in met]
        met.update(inside)
        parts += inside
    return parts

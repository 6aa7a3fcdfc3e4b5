"""Who separates a batch, as one value; whoever it is, the files are the same."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated, Literal

from unbraid.errors import ConfigError
from unbraid.options import NonNegativeInt, PositiveInt, Range, check_options

Engine = Literal["local", "ray"]

_DEVICE = re.compile(r"(cpu|mps|cuda:\d+|cuda)(?::(\d+))?")
_MOST_WORKERS = 1024


@dataclass(frozen=True, kw_only=True)
class EngineConfig:
    """How many workers there are and where they run."""

    engine: Engine = "local"
    """`local` is this machine; `ray` a Ray cluster, whose machines have unbraid, and see models and files under the
    same names."""

    devices: tuple[str, ...] = ("auto",)
    """One worker on each; several are processes of their own, each with the model. Ray gives out devices itself."""

    num_threads: NonNegativeInt = 0
    """Of all workers on this machine together; 0: all processors."""

    address: str | None = None
    """Of the Ray cluster; None: the one that this machine is in, else a new one on this machine."""

    workers: PositiveInt | None = None
    """On a Ray cluster; None: as many as its processors or GPUs suffice for."""

    gpus_per_worker: Annotated[float, Range(at_least=0.0)] | None = None
    """On a Ray cluster, also fractions; None: 1 where the cluster has GPUs, else 0."""

    cpus_per_worker: Annotated[float, Range(at_least=0.1)] = 1.0
    """On a Ray cluster."""

    retries: NonNegativeInt = 2
    """How often a recording is tried again whose worker was killed."""

    def __post_init__(self) -> None:
        check_options(self)
        if not self.devices:
            raise ConfigError("there is no device", subject="`devices`", remedy="name one, such as cpu or cuda:0")
        if self.engine == "local":
            if (self.address, self.workers, self.gpus_per_worker) != (None, None, None):
                raise ConfigError(
                    "`address`, `workers` and `gpus_per_worker` are for a Ray cluster", remedy='add `engine="ray"`'
                )
        elif self.devices != ("auto",):
            raise ConfigError("Ray chooses the devices", remedy="leave `devices` out, or set `gpus_per_worker`")

    @property
    def is_remote(self) -> bool:
        """Whether recordings are separated by other processes than this one."""
        return self.engine == "ray" or len(self.devices) > 1


def parse_devices(text: str) -> tuple[str, ...]:
    """ "cuda:0,cuda:1" is one worker on each, "cpu:2" two on the processors, "cuda:0:2" two on one GPU."""
    devices: list[str] = []
    for part in text.split(","):
        match = _DEVICE.fullmatch(part.strip())
        if match is None:
            raise ConfigError(
                f"'{part.strip()[:40]}' is not a device",
                subject="`devices`",
                remedy="write them as in cuda:0,cuda:1 or cpu:2",
            )
        name, number = match[1], int(match[2] or 1)
        if not 1 <= number <= _MOST_WORKERS:
            raise ConfigError(f"has {number} workers on {name}", subject="`devices`", remedy="ask for one or more")
        devices += [name] * number
    return tuple(devices)

"""How the server runs, as one value: where it listens, what it takes, and how long it keeps results."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from unbraid.errors import ConfigError
from unbraid.files.cache import cache_folder
from unbraid.options import NonNegativeInt, PositiveFloat, PositiveInt, check_options


@dataclass(frozen=True, kw_only=True)
class ServeConfig:
    """Settings of `unbraid serve`; the limits are ours, chosen for one machine and a few people."""

    host: str = "127.0.0.1"
    """The address to listen on; any other than this machine's own needs a token."""

    port: NonNegativeInt = 8765
    """0 takes a free one."""

    token: str | None = None
    """Who opens the page from elsewhere has to know it; None asks for none."""

    folder: Path = field(default_factory=lambda: cache_folder() / "serve")
    """Queue, recordings and results; they survive a restart."""

    devices: tuple[str, ...] = ("auto",)
    """One worker for each; "auto" is every CUDA device, or the best device there is."""

    workers: Literal["process", "thread"] = "process"
    """Models run in processes of their own at a lower priority, or in threads of the server."""

    max_upload_bytes: PositiveInt = 1_000_000_000

    max_seconds: PositiveFloat = 2 * 3600.0
    """Of audio in one recording."""

    max_queued: PositiveInt = 50
    """Recordings that wait; more are refused."""

    keep_hours: PositiveFloat = 72.0
    """Results older than that are removed."""

    keep_bytes: PositiveInt = 20_000_000_000
    """Where recordings and results take more, the oldest results are removed."""

    downloads: bool | None = None
    """Published models are downloaded when a visitor asks for one; by default where only this machine's own can."""

    def __post_init__(self) -> None:
        check_options(self)
        if self.port > 65_535:
            raise ConfigError("goes up to 65535", subject="`port`")
        if not self.devices:
            raise ConfigError("there is no device to work on", remedy='name one, such as `device="cpu"`')
        if self.token is not None and len(self.token) < 8:
            raise ConfigError("is too short to protect anything", subject="`token`", remedy="use 8 letters or more")
        if not self.is_local and self.token is None:
            raise ConfigError(
                f"lets others reach this server at {self.host}", subject="`host`", remedy="give a `token` as well"
            )

    @property
    def is_local(self) -> bool:
        """Whether only programs on this machine reach the server."""
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

    @property
    def may_download(self) -> bool:
        return self.is_local if self.downloads is None else self.downloads

"""What comes to the HTTP API: whole requests as bytes, handed to the application without a socket.

A request is its first line, its headers, an empty line and its body, in which `{id}` stands for a recording that has
been separated. What every client sends is added where it is missing, so that damage falls upon the rest. Whatever is
asked, the answer is one of HTTP and none that tells of a defect (500).
"""

from __future__ import annotations

import asyncio
import io
import json
import logging
import time
from functools import cache, partial
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import numpy as np
import soundfile

from tests.conftest import PATIENCE_SECONDS, TINY
from tests.fuzz.target import Builders, Target
from unbraid.errors import UnbraidError
from unbraid.models.catalog import build_model
from unbraid.web.app import build_app
from unbraid.web.config import ServeConfig
from unbraid.web.offers.choices import ModelChoice, ModelChoices
from unbraid.web.offers.downloads import Downloads
from unbraid.web.queue import SeparationQueue
from unbraid.weights.store import inspect_model, save_model

_TOKEN = "correct horse"
_ALWAYS = {b"host": b"localhost", b"authorization": f"Bearer {_TOKEN}".encode()}
_REFUSALS_BY_DESIGN = (507,)
"""Beside all below 500: the disk is full."""


class Answered(UnbraidError):
    """The request was refused in a sentence, as it should be."""


class WebApp:
    """The application with a tiny model and one recording that is done; nothing that is handed in runs."""

    def __init__(self, folder: Path) -> None:
        self._loop = asyncio.new_event_loop()
        path = save_model(build_model("s4m-tiny-4ms", **TINY["s4m-tiny-4ms"]), folder / "speakers.safetensors")
        spec = inspect_model(path).spec
        choice = ModelChoice(
            name="speakers",
            title="Speakers",
            sources=spec.sources,
            sample_rate=spec.sample_rate,
            num_channels=spec.num_channels,
            source=str(path),
        )
        config = ServeConfig(folder=folder / "serve", devices=("cpu",), workers="thread", token=_TOKEN)
        self._app = build_app(config, ModelChoices([choice]))
        queue = self._app.state.queue = SeparationQueue(config, ModelChoices([choice]))
        self._app.state.downloads = Downloads(config, queue.choices)
        self._done = self._separate(queue)

    def _separate(self, queue: SeparationQueue) -> str:
        queue.start()
        status, body = self.ask(FORM)
        assert status == 201, body
        id, end = json.loads(body)["id"], time.monotonic() + PATIENCE_SECONDS
        while (stored := queue.store.get(id)) is None or stored.state != "done":
            assert time.monotonic() < end, stored
            time.sleep(0.02)
        queue._stopping.set()
        with queue._wake:
            queue._wake.notify_all()
        for thread in queue._threads:
            thread.join()
        return id

    def ask(self, request: bytes) -> tuple[int, bytes]:
        """Status and body of the answer."""
        head, _, body = request.partition(b"\r\n\r\n")
        first, *lines = head.split(b"\r\n")
        method, target, *_ = [*first.decode("latin-1").split(" "), ""]
        path, _, query = target.partition("?")
        named = [line.partition(b":") for line in lines]
        # A server refuses names beyond ASCII before the application sees them.
        headers = [(name.strip().lower(), value.strip()) for name, _, value in named if name.isascii()]
        kind = b"multipart/form-data; boundary=cut" if body.startswith(b"--") else b"application/json"
        always = _ALWAYS | ({b"content-type": kind} if body else {})
        headers += [(name, value) for name, value in always.items() if name not in dict(headers)]
        scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": method.upper() or "GET",
            "scheme": "http",
            "path": unquote(path) or "/",
            "raw_path": path.encode("latin-1"),
            "query_string": query.encode("latin-1"),
            "root_path": "",
            "headers": headers,
            "client": ("127.0.0.1", 1),
            "server": ("127.0.0.1", 80),
        }
        return self._loop.run_until_complete(self._call(scope, body))

    async def _call(self, scope: dict[str, Any], body: bytes) -> tuple[int, bytes]:
        # Not in one piece: a form may be cut anywhere.
        pieces = [body[start : start + 97] for start in range(0, len(body), 97)] or [b""]
        events = [
            {"type": "http.request", "body": piece, "more_body": number < len(pieces)}
            for number, piece in enumerate(pieces, 1)
        ]
        statuses, answer = list[int](), bytearray()

        async def receive() -> dict[str, Any]:
            return events.pop(0) if events else {"type": "http.disconnect"}

        async def send(message: Any) -> None:
            if message["type"] == "http.response.start":
                statuses.append(message["status"])
            else:
                answer.extend(message.get("body", b""))

        await self._app(scope, receive, send)
        return statuses[0] if statuses else 0, bytes(answer)

    def read(self, data: bytes) -> None:
        """Asks, sees that the answer is in order, and removes what was handed in."""
        status, body = self.ask(data.replace(b"{id}", self._done.encode()))
        if status == 201:
            self.ask(f"DELETE /api/separations/{json.loads(body)['id']}\r\n\r\n".encode())
        if status >= 500 and status not in _REFUSALS_BY_DESIGN:
            raise AssertionError(f"status {status}: {body[:200]!r}")
        if status >= 400:
            raise Answered(f"status {status}")


def _json(path: str, body: object) -> bytes:
    return f"POST {path}\r\n\r\n{json.dumps(body)}".encode()


def _get(target: str, headers: str = "") -> bytes:
    return f"GET {target}\r\n{headers}\r\n".encode()


def _form() -> bytes:
    file = io.BytesIO()
    soundfile.write(file, 0.3 * np.sin(np.arange(800) / 9), 16_000, format="WAV")
    fields = {"model": "speakers", "shifts": "2", "consistency": "residual", "remix": "speaker1=-6,speaker2=off"}
    parts = [f'content-disposition: form-data; name="{name}"\r\n\r\n{value}' for name, value in fields.items()]
    head = 'content-disposition: form-data; name="file"; filename="talk.wav"\r\ncontent-type: audio/wav\r\n\r\n'
    body = b"".join(f"--cut\r\n{part}\r\n".encode() for part in parts)
    body += f"--cut\r\n{head}".encode() + file.getvalue() + b"\r\n--cut--\r\n"
    return b"POST /api/separations\r\n\r\n" + body


FORM = _form()

REQUESTS = {
    "http form": FORM,
    "http again": _json("/api/separations/{id}/again", {"stem": "speaker1", "options": {"model": "speakers"}}),
    "http remix": _json("/api/separations/{id}/remix", {"gains_db": {"speaker1": -3.5, "speaker2": None}}),
    "http login": _json("/api/login", {"token": _TOKEN}),
    "http range": _get("/api/separations/{id}/stems/speaker1", 'range: bytes=0-99,200-300\r\nif-range: "x"\r\n'),
    "http query": _get("/api/separations/{id}/tracks/1/spectrogram?start=0&stop=700&columns=20&bins=16"),
    "http samples": _get("/api/separations/{id}/samples?start=5&count=100", "cookie: unbraid_token=correct\r\n"),
    "http header": _get(
        "/api/separations/{id}/zip",
        "host: localhost:80\r\norigin: http://localhost:80\r\nsec-fetch-site: none\r\naccept-encoding: gzip\r\n"
        "range: bytes=-5\r\ncontent-length: 0\r\n",
    ),
    "http ids": _get("/api/separations?ids={id}&ids=none", "origin: http://localhost\r\n"),
}
"""Requests that are answered as they stand, by the name of their reader."""


@cache
def _app(folder: Path) -> WebApp:
    # It says of every broken form what is broken.
    logging.getLogger("python_multipart").setLevel(logging.CRITICAL)
    return WebApp(folder)


def _target(request: bytes, folder: Path) -> Target:
    return Target((request,), _app(folder).read)


BUILDERS: Builders = {name: partial(_target, request) for name, request in REQUESTS.items()}

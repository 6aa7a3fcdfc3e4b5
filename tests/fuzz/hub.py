"""What the hub and other servers answer when a model is fetched: lists, redirects, headers, bodies that are cut.

Answers are bytes as they come over a line, handed to the clients of HTTP without a socket, in the order in which they
are asked for, with `SEPARATOR` between them.
"""

from __future__ import annotations

import hashlib
import http.client
import io
import json
import os
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

from tests.fuzz.target import Builders, Target
from unbraid.weights.published import hub
from unbraid.weights.published.folders import find_model
from unbraid.weights.published.web import fetch_file
from unbraid.weights.references import HubReference, WebReference

SEPARATOR = b"\n====\n"
_COMMIT = "0123456789abcdef0123456789abcdef01234567"
_CONTENT = b"these are weights"
_SETTINGS = b"dim: 8\n"


class Line:
    """A socket over which that answer comes, whatever is asked."""

    def __init__(self, answer: bytes) -> None:
        self._answer = io.BytesIO(answer)

    def makefile(self, *_: object, **__: object) -> io.BytesIO:
        return self._answer

    def sendall(self, data: object) -> None: ...

    def setsockopt(self, *_: object) -> None: ...

    def settimeout(self, *_: object) -> None: ...

    def close(self) -> None: ...


@contextmanager
def _served(folder: Path, answers: bytes) -> Iterator[None]:
    """The answers in their order; an empty cache for what is fetched, beside which nothing may appear."""
    waiting = answers.split(SEPARATOR)
    # What runs already, left by another test, may ask for something too, and must not take an answer away.
    others = set(threading.enumerate()) - {threading.current_thread()}
    place = folder / "outer" / "inner"
    cache = place / "cache"
    cache.mkdir(parents=True)

    def connect(*_: object, **__: object) -> Line:
        if not waiting or threading.current_thread() in others:
            raise ConnectionRefusedError(111, "Connection refused")
        return Line(waiting.pop(0))

    def answer(request: Any) -> Any:
        import httpx2

        if not waiting or threading.current_thread() in others:
            raise httpx2.ConnectError("refused")
        response = http.client.HTTPResponse(Line(waiting.pop(0)), method=request.method)  # type: ignore[arg-type]
        try:
            response.begin()
            return httpx2.Response(response.status, headers=response.getheaders(), content=response.read())
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise httpx2.ReadError(str(error)) from error

    variables = {"UNBRAID_CACHE": str(cache), "HF_HUB_CACHE": str(cache / "hub"), "HF_HUB_OFFLINE": ""}
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, folder / "outer")
        stack.enter_context(mock.patch.dict(os.environ, variables))
        stack.enter_context(mock.patch("socket.create_connection", connect))
        stack.enter_context(mock.patch("time.sleep"))
        stack.enter_context(_client_that_gets(answer))
        yield
        assert os.listdir(folder / "outer") == ["inner"], os.listdir(folder / "outer")
        assert os.listdir(place) == ["cache"], os.listdir(place)


@contextmanager
def _client_that_gets(answer: Callable[[Any], Any]) -> Iterator[None]:
    import httpx2
    from huggingface_hub import constants, set_client_factory
    from huggingface_hub.utils import _http

    with mock.patch.object(constants, "HF_HUB_DISABLE_XET", True):
        set_client_factory(lambda: httpx2.Client(transport=httpx2.MockTransport(answer), trust_env=False))
        try:
            yield
        finally:
            set_client_factory(_http.default_client_factory)


def _read_web(folder: Path, data: bytes) -> None:
    with _served(folder, data):
        fetch_file(WebReference(url="http://localhost/model.bin"))


def _read_list(folder: Path, data: bytes) -> None:
    with _served(folder, data):
        _, files = hub.list_repository(HubReference(repository="owner/name"))
        find_model(tuple(files), None, "owner/name")


def _read_hub(folder: Path, data: bytes) -> None:
    reference = HubReference(repository="owner/name")
    with _served(folder, data):
        hub.fetch_from_hub(reference, lambda paths: find_model(paths, None, str(reference)).files)


def _answer(body: bytes, *headers: str, status: str = "200 OK") -> bytes:
    return "\r\n".join([f"HTTP/1.1 {status}", *headers, "", ""]).encode() + body


def _list() -> bytes:
    sha1 = [hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest() for content in (_CONTENT, _SETTINGS)]
    lfs = {"sha256": hashlib.sha256(_CONTENT).hexdigest(), "size": len(_CONTENT), "pointerSize": 9}
    siblings = [
        {"rfilename": "a/model.ckpt", "size": len(_CONTENT), "blobId": sha1[0], "lfs": lfs},
        {"rfilename": "a/model.yaml", "size": len(_SETTINGS), "blobId": sha1[1]},
    ]
    facts = {"id": "owner/name", "modelId": "owner/name", "sha": _COMMIT, "private": False, "siblings": siblings}
    return _answer(json.dumps(facts).encode(), "Content-Type: application/json")


def _file(content: bytes) -> list[bytes]:
    """What HEAD and GET are answered."""
    facts = (f"X-Repo-Commit: {_COMMIT}", f'ETag: "{hashlib.sha1(content).hexdigest()}"')
    length = f"Content-Length: {len(content)}"
    return [_answer(b"", *facts, length), _answer(content, *facts, length)]


_MOVED = _answer(b"", "Location: /other/model.bin", "Content-Length: 0", status="302 Found")
_CUT = _answer(_CONTENT[:5], f"Content-Length: {len(_CONTENT)}")
_REST = _answer(
    _CONTENT[5:],
    f"Content-Length: {len(_CONTENT) - 5}",
    f"Content-Range: bytes 5-{len(_CONTENT) - 1}/{len(_CONTENT)}",
    status="206 Partial Content",
)
_CHUNKED = _answer(b"5\r\nthese\r\n0\r\n\r\n", "Transfer-Encoding: chunked")
_LATER = _answer(b"", "Retry-After: 1", status="503 Busy")


def _target(read: Callable[[Path, bytes], None], *seeds: list[bytes]) -> Callable[[Path], Target]:
    return lambda folder: Target(tuple(SEPARATOR.join(seed) for seed in seeds), partial(read, folder))


BUILDERS: Builders = {
    "answer https": _target(_read_web, [_file(_CONTENT)[1]], [_MOVED, _CUT, _REST], [_LATER, _CHUNKED]),
    "answer list": _target(_read_list, [_list()]),
    "answer file": _target(_read_hub, [_list(), *_file(_CONTENT), *_file(_SETTINGS)]),
}

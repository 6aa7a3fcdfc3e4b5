"""Server-sent events: the same list over and over, whenever anything in it has changed."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Sequence

from fastapi import Request
from fastapi.responses import StreamingResponse
from pydantic import BaseModel

_POLL_SECONDS = 0.25
_ALIVE_SECONDS = 15.0


def stream_changes(
    request: Request, name: str, look: Callable[[], tuple[Sequence[BaseModel], bool]]
) -> StreamingResponse:
    """Events of that name until `look` says with its list that nothing in it will change any more."""

    async def stream() -> AsyncIterator[str]:
        last, silent = "", 0.0
        while not await request.is_disconnected():
            found, ended = look()
            now = json.dumps([one.model_dump() for one in found])
            if now != last:
                yield f"event: {name}\ndata: {now}\n\n"
                last, silent = now, 0.0
            if ended:
                yield "event: end\ndata: {}\n\n"
                return
            await asyncio.sleep(_POLL_SECONDS)
            silent += _POLL_SECONDS
            if silent >= _ALIVE_SECONDS:
                yield ": still here\n\n"
                silent = 0.0

    return StreamingResponse(stream(), media_type="text/event-stream", headers={"x-accel-buffering": "no"})

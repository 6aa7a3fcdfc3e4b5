"""The application: the page, the API, and what watches over both."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from fastapi import FastAPI, HTTPException, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, JSONResponse, PlainTextResponse
from fastapi.staticfiles import StaticFiles
from starlette.concurrency import run_in_threadpool

import unbraid
from unbraid.errors import UnbraidError
from unbraid.options import why_invalid
from unbraid.pictures.player import assets
from unbraid.web.api import api
from unbraid.web.config import ServeConfig
from unbraid.web.metrics import metrics_text
from unbraid.web.offers.choices import ModelChoices
from unbraid.web.offers.downloads import Downloads
from unbraid.web.offers.routes import models_api
from unbraid.web.queue import SeparationQueue
from unbraid.web.schema import Login
from unbraid.web.security import COOKIE, Guard, is_token
from unbraid.web.uploads import Refused

STATIC = Path(__file__).with_name("static")


def build_app(config: ServeConfig, choices: ModelChoices | None = None) -> FastAPI:
    """The page and its API; workers begin when it is started, and end with it."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        queue = app.state.queue = SeparationQueue(config, choices)
        downloads = app.state.downloads = Downloads(config, queue.choices)
        await run_in_threadpool(queue.start)
        yield
        await run_in_threadpool(downloads.stop)
        await run_in_threadpool(queue.stop)

    app = FastAPI(
        title="unbraid",
        version=unbraid.__version__,
        summary="Audio source separation: a recording in, one file per source out.",
        lifespan=lifespan,
        openapi_url="/api/openapi.json",
        # Their pages load scripts from other hosts.
        docs_url=None,
        redoc_url=None,
    )
    app.include_router(api)
    app.include_router(models_api)
    app.add_middleware(Guard, config=config)
    app.mount("/static/player", _Static(directory=assets.STATIC), name="player")
    app.mount("/static", _Static(directory=STATIC), name="static")

    @app.get("/", include_in_schema=False)
    def page() -> FileResponse:
        return FileResponse(STATIC / "index.html", headers={"cache-control": "no-cache"})

    @app.get("/health")
    async def health() -> dict[str, str]:
        """Whether the server is there."""
        return {"status": "ok", "version": unbraid.__version__}

    @app.get("/metrics", response_class=PlainTextResponse)
    def metrics(request: Request) -> PlainTextResponse:
        """Counters in the text format of Prometheus."""
        return PlainTextResponse(metrics_text(request.app.state.queue), media_type="text/plain; version=0.0.4")

    @app.post("/api/login", status_code=204)
    async def login(given: Login, request: Request) -> Response:
        """Changes the token for a cookie, which scripts cannot read."""
        if config.token is not None and not is_token(given.token, config):
            import asyncio

            await asyncio.sleep(0.5)
            raise HTTPException(401, "that is not the token of this server")
        response = Response(status_code=204)
        secure = request.url.scheme == "https"
        response.set_cookie(COOKIE, given.token, httponly=True, samesite="strict", secure=secure, max_age=30 * 86_400)
        return response

    @app.exception_handler(Refused)
    async def refused(_: Request, error: Refused) -> JSONResponse:
        # What is left of an upload would be taken for the next request.
        return _problem(error.sentence, error.status, headers={"connection": "close"})

    @app.exception_handler(UnbraidError)
    async def unbraid_error(_: Request, error: UnbraidError) -> JSONResponse:
        return _problem(str(error), 422)

    @app.exception_handler(UnicodeEncodeError)
    async def no_text(_: Request, error: UnicodeEncodeError) -> JSONResponse:
        return _problem("the request holds half a character (a surrogate alone), which is no text", 422)

    @app.exception_handler(RequestValidationError)
    async def invalid(_: Request, error: RequestValidationError) -> JSONResponse:
        problem = error.errors()[0]
        name = ".".join(str(part) for part in problem["loc"][1:])
        return _problem(f"`{name}`: {why_invalid(problem)}", 422)

    return app


def _problem(sentence: str, status: int, headers: dict[str, str] | None = None) -> JSONResponse:
    """A sentence may repeat what the request held, which need not be text."""
    return JSONResponse({"detail": sentence.encode("utf-8", "backslashreplace").decode()}, status, headers)


class _Static(StaticFiles):
    """Files of the page; a browser asks each time whether they have changed."""

    def file_response(self, *args, **kwargs) -> Response:
        response = super().file_response(*args, **kwargs)
        response.headers["cache-control"] = "no-cache"
        return response

"""The addresses of models: which there are, and bringing published ones onto this machine."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, HTTPException, Query, Request, Response
from fastapi.responses import StreamingResponse

from unbraid.web.offers.choices import ModelChoice, ModelChoices
from unbraid.web.offers.downloads import Downloads
from unbraid.web.schema import DownloadRequest, Model, ModelState, Problem
from unbraid.web.streaming import stream_changes
from unbraid.weights.published.registry import PublishedModel, missing_extra

_MOST_NAMES = 100

models_api = APIRouter(prefix="/api/models", responses={code: {"model": Problem} for code in (401, 403, 404)})


async def the_choices(request: Request) -> ModelChoices:
    return request.app.state.queue.choices


async def the_downloads(request: Request) -> Downloads:
    return request.app.state.downloads


Choices = Annotated[ModelChoices, Depends(the_choices)]
TheDownloads = Annotated[Downloads, Depends(the_downloads)]
Names = Annotated[list[str], Query(max_length=_MOST_NAMES, description="Only models of these names.")]


@models_api.get("")
def models(choices: Choices, downloads: TheDownloads) -> list[Model]:
    """What can be separated with here, and what can be downloaded for it."""
    return _describe_all(choices, downloads)


@models_api.get("/events", response_class=StreamingResponse)
def model_events(names: Names, choices: Choices, downloads: TheDownloads, request: Request) -> StreamingResponse:
    """Those models as server-sent events: `models` whenever anything has changed, until no download is under way."""

    def look() -> tuple[list[Model], bool]:
        found = _describe_all(choices, downloads, names)
        return found, all(model.state != "downloading" for model in found)

    return stream_changes(request, "models", look)


@models_api.get("/{name}")
def model(name: str, choices: Choices, downloads: TheDownloads) -> Model:
    """One of them."""
    for found in _describe_all(choices, downloads, [name]):
        return found
    raise HTTPException(404, "there is no model of that name here")


@models_api.post("/{name}/download", status_code=202, responses={code: {"model": Problem} for code in (422, 507)})
def start_download(name: str, given: DownloadRequest, choices: Choices, downloads: TheDownloads) -> Model:
    """Begins to download a published model; `/api/models/events` tells how far it is."""
    downloads.start(name, agreed=given.agreed)
    return model(name, choices, downloads)


@models_api.delete("/{name}/download", status_code=204)
def cancel_download(name: str, downloads: TheDownloads) -> Response:
    """Ends a download; the next one goes on with what is there."""
    downloads.cancel(name)
    return Response(status_code=204)


def _describe_all(choices: ModelChoices, downloads: Downloads, names: list[str] | None = None) -> list[Model]:
    here = choices.all()
    offers = choices.offers() if downloads.allowed else []
    return [
        _describe(choice, downloads, is_here=place < len(here))
        for place, choice in enumerate((*here, *offers))
        if names is None or choice.name in names
    ]


def _describe(choice: ModelChoice, downloads: Downloads, *, is_here: bool) -> Model:
    running, failed = downloads.running(choice.name), downloads.failed(choice.name)
    state: ModelState = "bundled"
    if (published := choice.published) is not None:
        state = "downloading" if running else "downloaded" if is_here else "can be downloaded"
    missing = missing_extra(published) if published is not None else None
    return Model(
        name=choice.name,
        title=choice.title,
        state=state,
        sources=list(choice.sources),
        sample_rate=choice.sample_rate,
        num_channels=choice.num_channels,
        missing=str(missing) if missing is not None else None,
        progress=round(running.progress, 3) if running else None,
        message=failed.message if failed else None,
        **(_facts(published) if published is not None else {}),
    )


def _facts(model: PublishedModel) -> dict:
    score = next(iter(model.scores), None)
    return {
        "task": model.task,
        "size_mb": model.size_mb,
        "licence": model.licence,
        "credits": model.credits,
        "score": f"{score.measure} {score.value:g} {score.unit} on {score.data} ({score.source})" if score else None,
    }

"""The addresses of the HTTP API."""

from __future__ import annotations

import asyncio
import math
import os
import shutil
import tempfile
from pathlib import Path
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, HTTPException, Query, Request, Response
from fastapi.responses import FileResponse, StreamingResponse
from pydantic import ValidationError

import unbraid
from unbraid.files.names import printable
from unbraid.options import why_invalid
from unbraid.output.config import OutputConfig
from unbraid.output.remix import remix_stems
from unbraid.pictures.player.views import HEADROOM, draw_spectrogram, draw_waveform
from unbraid.web.archive import stream_zip
from unbraid.web.offers.choices import AUTO
from unbraid.web.offers.routes import TheDownloads, models
from unbraid.web.preview import Tracks, load_tracks, map_track, read_stretch
from unbraid.web.queue import SeparationQueue
from unbraid.web.schema import (
    AgainRequest,
    Limits,
    PlayerTracks,
    Problem,
    RemixRequest,
    Separation,
    SeparationOptions,
    Server,
    StemFile,
)
from unbraid.web.store import StoredSeparation, new_id
from unbraid.web.streaming import stream_changes
from unbraid.web.uploads import RecordingForm, Refused, look_at, refuse_without_space, too_large
from unbraid.web.worker import player_folder, recording_path, stems_folder

_MOST_IDS = 100
_MOST_SAMPLES = 1 << 19
"""Of one stretch, per channel."""

api = APIRouter(prefix="/api", responses={code: {"model": Problem} for code in (401, 403, 404)})

Ids = Annotated[list[str], Query(max_length=_MOST_IDS, description="Only the recordings of these ids.")]
Start = Annotated[int, Query(ge=0, description="First sample.")]


# What takes no longer than a look into the store is done at once: a thread for it would wait for the model's.


async def the_queue(request: Request) -> SeparationQueue:
    return request.app.state.queue


Queue = Annotated[SeparationQueue, Depends(the_queue)]


async def one_separation(id: str, queue: Queue) -> StoredSeparation:
    stored = queue.store.get(id)
    if stored is None:
        raise HTTPException(404, "there is no such recording, or its results have been removed")
    return stored


Stored = Annotated[StoredSeparation, Depends(one_separation)]


async def done_separation(stored: Stored) -> StoredSeparation:
    if stored.state != "done":
        raise HTTPException(409, f"'{stored.name}' is {stored.state}, so there are no stems of it")
    return stored


Done = Annotated[StoredSeparation, Depends(done_separation)]


@api.get("/server")
def server(queue: Queue, downloads: TheDownloads) -> Server:
    """Version, limits and models."""
    config = queue.config
    return Server(
        version=unbraid.__version__,
        devices=[str(device) for device in queue.devices],
        downloads=downloads.allowed,
        limits=Limits(
            upload_bytes=config.max_upload_bytes,
            seconds=config.max_seconds,
            queued=config.max_queued,
            keep_hours=config.keep_hours,
        ),
        models=models(queue.choices, downloads),
    )


def _form_schema() -> dict[str, Any]:
    fields = SeparationOptions.model_json_schema()
    fields["properties"] = {"file": {"type": "string", "format": "binary"}, **fields["properties"]}
    fields["required"] = ["file", *fields["required"]]
    return {"requestBody": {"required": True, "content": {"multipart/form-data": {"schema": fields}}}}


@api.post(
    "/separations",
    status_code=201,
    openapi_extra=_form_schema(),
    responses={code: {"model": Problem} for code in (408, 413, 415, 422, 429, 507)},
)
async def submit(request: Request, queue: Queue) -> Separation:
    """Hands a recording in: a form with `file`, `model`, and any of the other settings."""
    config = queue.config
    if queue.store.count("queued") + queue.uploading >= config.max_queued:
        raise Refused(429, f"{config.max_queued} recordings wait already: try again later")
    length = request.headers.get("content-length", "")
    promised = int(length) if length.isdecimal() else 0
    if promised > config.max_upload_bytes + (1 << 16):
        raise Refused(413, too_large(config.max_upload_bytes))
    refuse_without_space(config.folder, promised)
    id = new_id()
    folder = queue.folder_of(id)
    folder.mkdir(parents=True)
    queue.uploading += 1
    try:
        form = RecordingForm(request.headers.get("content-type", ""), recording_path(folder), config.max_upload_bytes)
        await form.read(request.stream())
        assert form.name is not None
        stored = await _enqueue(id, form.name, read_options(form.fields), queue)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    finally:
        queue.uploading -= 1
    return describe(stored, queue)


async def _enqueue(id: str, name: str, options: SeparationOptions, queue: SeparationQueue) -> StoredSeparation:
    """Puts the recording that lies in the folder of an id into the queue, if it is one."""
    config, path = queue.config, recording_path(queue.folder_of(id))
    await asyncio.to_thread(queue.check, options)
    allow = options.allow_truncated
    seconds = await asyncio.to_thread(look_at, path, name, config.max_seconds, allow_truncated=allow)
    if options.model == AUTO:
        options = options.model_copy(update={"model": await asyncio.to_thread(queue.choices.hear, path, name)})
        await asyncio.to_thread(queue.check, options)
    stored = queue.submit(id, name, options, seconds)
    if stored is None:
        raise Refused(429, f"{config.max_queued} recordings wait already: try again later")
    return stored


@api.post("/separations/{id}/again", status_code=201, responses={code: {"model": Problem} for code in (409, 422, 429)})
async def again(stored: Done, wanted: AgainRequest, queue: Queue) -> Separation:
    """Separates the same recording with other settings, or one of its stems further, without a second upload."""
    source, name = queue.folder_of(stored.id), stored.name
    if wanted.stem is None:
        path = recording_path(source)
    elif (found := stored.result["stems"].get(wanted.stem)) is None:
        raise HTTPException(404, f"'{stored.name}' has no stem of that name")
    else:
        path, name = stems_folder(source) / found["file"], f"{_track(stored)} - {found['file']}"
    id = new_id()
    folder = queue.folder_of(id)
    folder.mkdir(parents=True)
    try:
        await asyncio.to_thread(_link_or_copy, path, recording_path(folder), queue)
        taken = await _enqueue(id, name, wanted.options, queue)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    return describe(taken, queue)


def _link_or_copy(path: Path, target: Path, queue: SeparationQueue) -> None:
    """One file under two names where the disk can; either may be removed before the other."""
    try:
        os.link(path, target)
    except OSError:
        refuse_without_space(queue.config.folder, path.stat().st_size)
        shutil.copyfile(path, target)


def read_options(fields: dict[str, str]) -> SeparationOptions:
    """The fields of a form; an empty one is as good as none."""
    try:
        return SeparationOptions.model_validate({name: value for name, value in fields.items() if value != ""})
    except ValidationError as error:
        problem = error.errors()[0]
        name = ".".join(str(part) for part in problem["loc"])
        raise Refused(422, f"`{name[:100]}`: {why_invalid(problem)}") from error


@api.get("/separations")
async def several(ids: Ids, queue: Queue) -> list[Separation]:
    """Those recordings, the newest first; ids that are not there any more are left out."""
    return _describe_all(ids, queue)


@api.get("/events", response_class=StreamingResponse)
async def events(ids: Ids, queue: Queue, request: Request) -> StreamingResponse:
    """The same as server-sent events: `separations` whenever anything has changed, until all have come to an end."""

    def look() -> tuple[list[Separation], bool]:
        found = _describe_all(ids, queue)
        return found, all(separation.state not in ("queued", "running") for separation in found)

    return stream_changes(request, "separations", look)


@api.get("/separations/{id}")
async def one(stored: Stored, queue: Queue) -> Separation:
    """One recording and how far it is."""
    return describe(stored, queue)


@api.post("/separations/{id}/cancel")
def cancel(stored: Stored, queue: Queue) -> Separation:
    """Ends what waits or runs; its files are removed. What has come to an end stays as it is."""
    queue.cancel(stored)
    return describe(queue.store.get(stored.id) or stored, queue)


@api.delete("/separations/{id}", status_code=204)
def remove(stored: Stored, queue: Queue) -> Response:
    """Removes a recording and all of its results."""
    queue.remove(stored)
    return Response(status_code=204)


@api.get("/separations/{id}/stems/{stem}", response_class=FileResponse)
def stem_file(stored: Done, stem: str, queue: Queue) -> FileResponse:
    """One stem, as `unbraid separate` writes it."""
    found = stored.result["stems"].get(stem)
    if found is None:
        raise HTTPException(404, f"'{stored.name}' has no stem of that name")
    path = stems_folder(queue.folder_of(stored.id)) / found["file"]
    headers = {"content-disposition": _attachment(f"{_track(stored)} - {found['file']}")}
    return FileResponse(path, headers=headers)


@api.get("/separations/{id}/zip", response_class=StreamingResponse)
def all_files(stored: Done, queue: Queue) -> StreamingResponse:
    """All stems, and the record of how they were made, as one zip."""
    folder, track = stems_folder(queue.folder_of(stored.id)), _track(stored)
    files = {f"{track}/{found['file']}": folder / found["file"] for found in stored.result["stems"].values()}
    files[f"{track}/{stored.result['record']}"] = folder / stored.result["record"]
    headers = {"content-disposition": _attachment(f"{track}.zip")}
    return StreamingResponse(stream_zip(files), media_type="application/zip", headers=headers)


@api.post("/separations/{id}/remix", response_class=FileResponse, responses={422: {"model": Problem}})
def remix(stored: Done, wanted: RemixRequest, queue: Queue) -> FileResponse:
    """The sum of the stems at gains of your own, as a file."""
    folder = queue.folder_of(stored.id)
    stems = {name: stems_folder(folder) / found["file"] for name, found in stored.result["stems"].items()}
    gains = {name: -math.inf if gain is None else gain for name, gain in wanted.gains_db.items()}
    output = OutputConfig(container=wanted.container, sample=wanted.sample, bitrate_kbps=wanted.bitrate_kbps)
    place = Path(tempfile.mkdtemp(prefix="remix-", dir=folder))
    try:
        path = remix_stems(stems, gains, place / f"remix.{output.container}", output)
    except BaseException:
        shutil.rmtree(place, ignore_errors=True)
        raise
    from starlette.background import BackgroundTask

    clear = BackgroundTask(shutil.rmtree, place, ignore_errors=True)
    headers = {"content-disposition": _attachment(f"{_track(stored)} - remix.{output.container}")}
    return FileResponse(path, headers=headers, background=clear)


@api.get("/separations/{id}/tracks")
def tracks(stored: Done, queue: Queue) -> PlayerTracks:
    """What the player plays: the mixture and the stems."""
    found = _tracks(stored, queue)
    return PlayerTracks(
        names=list(found.names),
        sample_rate=found.sample_rate,
        num_channels=found.num_channels,
        num_samples=found.num_samples,
        full_scale=HEADROOM,
    )


@api.get("/separations/{id}/samples")
def samples(stored: Done, queue: Queue, start: Start, count: Annotated[int, Query(ge=1, le=_MOST_SAMPLES)]) -> Response:
    """A stretch of all tracks, one after the other: int16, little endian, its channels in turn."""
    found = _tracks(stored, queue)
    data = read_stretch(player_folder(queue.folder_of(stored.id)), found, min(start, found.num_samples), count)
    return Response(data, media_type="application/octet-stream", headers=_KEPT)


@api.get("/separations/{id}/tracks/{track}/{view}")
def picture(
    stored: Done,
    queue: Queue,
    track: int,
    view: Literal["waveform", "spectrogram"],
    start: Start,
    stop: Annotated[int, Query(ge=1, description="One past the last sample.")],
    columns: Annotated[int, Query(ge=1, le=4096)] = 1000,
    bins: Annotated[int, Query(ge=8, le=512)] = 96,
) -> Response:
    """What a stretch of a track looks like.

    The waveform is a pair of int8 for each column, its lowest and highest value; the spectrogram a uint8 for each bin
    and column, row by row, the highest frequency first.
    """
    found = _tracks(stored, queue)
    if not 0 <= track < len(found.names):
        raise HTTPException(404, f"'{stored.name}' has no track of that number")
    stop = min(stop, found.num_samples)
    start = min(start, max(0, stop - 1))
    samples = map_track(player_folder(queue.folder_of(stored.id)), found, track)
    if view == "waveform":
        drawn = draw_waveform(samples, start, stop, columns)
    else:
        drawn = draw_spectrogram(samples, found.sample_rate, start, stop, columns, bins)
    return Response(drawn.tobytes(), media_type="application/octet-stream", headers=_KEPT)


_KEPT = {"cache-control": "private, max-age=3600"}


def describe(stored: StoredSeparation, queue: SeparationQueue) -> Separation:
    return _describe(stored, queue, queue.store.waiting() if stored.state == "queued" else [])


def _describe_all(ids: list[str], queue: SeparationQueue) -> list[Separation]:
    found = queue.store.several(ids)
    waiting = queue.store.waiting() if any(stored.state == "queued" for stored in found) else []
    return [_describe(stored, queue, waiting) for stored in found]


def _describe(stored: StoredSeparation, queue: SeparationQueue, waiting: list[StoredSeparation]) -> Separation:
    left = queue.seconds_left(stored, waiting)
    done = stored.state == "done"
    return Separation(
        id=stored.id,
        name=stored.name,
        model=stored.options["model"],
        options=SeparationOptions.model_validate(stored.options),
        state=stored.state,
        created=stored.created,
        started=stored.started,
        ended=stored.ended,
        seconds=stored.seconds,
        position=queue.position_of(stored, waiting),
        progress=1.0 if done else round(queue.progress_of(stored.id), 3),
        # In steps, so that streams do not speak only because a clock ticks.
        seconds_left=None if left is None else max(1.0, round(left)),
        message=stored.message,
        remarks=stored.result.get("remarks", []),
        stems=[
            StemFile(name=name, bytes=found["bytes"], url=f"/api/separations/{stored.id}/stems/{name}")
            for name, found in stored.result.get("stems", {}).items()
        ],
        expires=queue.expires(stored),
    )


def _tracks(stored: StoredSeparation, queue: SeparationQueue) -> Tracks:
    found = load_tracks(player_folder(queue.folder_of(stored.id)))
    if found is None:
        raise HTTPException(404, f"the results of '{stored.name}' have been removed")
    return found


def _track(stored: StoredSeparation) -> str:
    """The recording's name without its extension, as part of the names of downloads."""
    return printable(Path(stored.name).stem or "recording")


def _attachment(name: str) -> str:
    """The name twice: in ASCII for curl -OJ and whatever reads no more, and as it is for browsers."""
    from urllib.parse import quote

    plain = "".join(c if c.isascii() and c.isprintable() and c not in '"\\/;%' else "_" for c in name)
    return f"attachment; filename=\"{plain}\"; filename*=utf-8''{quote(name, safe='')}"

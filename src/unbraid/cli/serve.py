"""`unbraid serve`: the web page and its API."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from unbraid.cli.options import DEVICE_HELP, flag

_LIMITS = "What it takes and keeps"


def serve(
    host: Annotated[
        str, typer.Option(metavar="ADDRESS", help="Where to listen; 0.0.0.0 lets others in, who need the token.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(metavar="N", min=0, help="0 takes a free one.")] = 8765,
    token: Annotated[
        str | None,
        typer.Option(
            envvar="UNBRAID_TOKEN",
            help="Asked of every visitor; by default a new one where others can reach the server.",
            show_default=False,
            show_envvar=True,
        ),
    ] = None,
    folder: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Queue and results; by default in the user's cache.", show_default=False),
    ] = None,
    device: Annotated[
        list[str] | None,
        typer.Option("--device", "-d", metavar="DEVICE", help=f"{DEVICE_HELP} Repeat it for more workers."),
    ] = None,
    open_page: Annotated[bool, flag("--open", "Open the page in the browser.")] = False,
    downloads: Annotated[
        bool | None,
        typer.Option(
            "--downloads/--no-downloads",
            help="Whether visitors may download published models; by default where nobody else reaches the page.",
            show_default=False,
        ),
    ] = None,
    max_upload_mb: Annotated[
        float, typer.Option(metavar="MB", min=0.001, help="Of one recording.", rich_help_panel=_LIMITS)
    ] = 1000,
    max_minutes: Annotated[
        float, typer.Option(metavar="MIN", min=0.001, help="Of audio in one recording.", rich_help_panel=_LIMITS)
    ] = 120,
    max_queued: Annotated[
        int, typer.Option(metavar="N", min=1, help="Recordings that may wait.", rich_help_panel=_LIMITS)
    ] = 50,
    keep_hours: Annotated[
        float, typer.Option(metavar="H", min=0.001, help="How long results are kept.", rich_help_panel=_LIMITS)
    ] = 72,
    keep_gb: Annotated[
        float, typer.Option(metavar="GB", min=0.001, help="How much all of them may take.", rich_help_panel=_LIMITS)
    ] = 20,
) -> None:
    """Opens a page where recordings are separated, looked at and listened to, with an API for programs.

    Nothing leaves this machine, and nobody else reaches the page unless --host
    says so. Recordings wait in a queue that survives a restart. Published models
    come from the network only when somebody on the page agrees to it.

    [bold]Examples[/bold]

    unbraid serve --open
        the page on this machine, in the browser
    unbraid serve --host 0.0.0.0
        for others in the network, who need the token that is printed
    """
    from unbraid.cli.messages import complain
    from unbraid.errors import MissingExtraError, UnbraidError

    try:
        import uvicorn

        from unbraid.web.app import build_app
    except ModuleNotFoundError as error:
        raise MissingExtraError((error.name or "fastapi").replace("_", "-"), "serve", "unbraid serve") from error
    import secrets
    import socket

    from unbraid.web.config import ServeConfig

    if token is None and host not in ("127.0.0.1", "localhost", "::1"):
        token = secrets.token_urlsafe(16)
    settings: dict[str, Any] = {} if folder is None else {"folder": folder}
    config = ServeConfig(
        host=host,
        port=port,
        token=token,
        devices=tuple(device or ["auto"]),
        downloads=downloads,
        max_upload_bytes=round(max_upload_mb * 1e6),
        max_seconds=max_minutes * 60,
        max_queued=max_queued,
        keep_hours=keep_hours,
        keep_bytes=round(keep_gb * 1e9),
        **settings,
    )
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # asyncio turns Nagle's algorithm off only where the protocol is named; with it, every answer waits 40 ms.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError as error:
        raise UnbraidError(
            f"cannot listen at {host}, port {port} ({error.strerror})", remedy="choose another with --port"
        ) from error
    name = {"0.0.0.0": socket.gethostname(), "::": socket.gethostname(), "::1": "[::1]"}.get(host, host)
    # Behind the #, browsers send the token to nobody; the page changes it for a cookie.
    url = f"http://{name}:{listener.getsockname()[1]}/{f'#token={token}' if token else ''}"
    complain(f"unbraid is at {url}  (Ctrl-C ends it)", kind="")
    if open_page:
        import webbrowser

        webbrowser.open(url)
    server = uvicorn.Server(
        uvicorn.Config(
            build_app(config),
            http="h11",
            h11_max_incomplete_event_size=1 << 14,
            log_level="warning",
            access_log=False,
            server_header=False,
            proxy_headers=False,
            timeout_graceful_shutdown=2,
            timeout_keep_alive=20,
        )
    )
    server.run(sockets=[listener])

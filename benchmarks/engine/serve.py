"""The web page under load: how fast it answers while the model computes, and how soon a song can be played.

python -m benchmarks.engine.serve            fifty clients poll, eight upload; a song of three minutes is played
"""

from __future__ import annotations

import argparse
import asyncio
import io
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import httpx
import numpy as np
import soundfile

from benchmarks.pages.serve_pictures import chromium

POLLERS, UPLOADERS = 50, 8
SONG_SECONDS = 180


def run(seconds: float = 30.0, song_seconds: float = SONG_SECONDS) -> None:
    """Prints both tables' lines."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "unbraid", "serve", "--port", "8797", "--folder", folder, "--device", "cpu"]
        process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        try:
            asyncio.run(measure("http://127.0.0.1:8797", process.pid, seconds, song_seconds))
        finally:
            process.terminate()
            process.wait()


async def measure(url: str, pid: int, seconds: float, song_seconds: float) -> None:
    limits = httpx.Limits(max_connections=None)
    async with httpx.AsyncClient(base_url=url, timeout=600, limits=limits) as client:
        await until_it_answers(client)
        song = wav(song_seconds, 44_100, 2)
        short = wav(20, 16_000, 1)
        idle = await pressure(client, [], seconds / 2)
        print(f"{os.cpu_count()} cores, load of the machine before {os.getloadavg()[0]:.1f}")
        print(f"answers to {POLLERS} clients of an idle server: {len(idle)} answers, {spread(idle)}")
        ids = [await submit(client, short, "speech") for _ in range(2)]
        while (await client.get(f"/api/separations/{ids[0]}")).json()["state"] == "queued":
            await asyncio.sleep(0.2)
        busy = await pressure(client, ids, seconds, short)
        print(f"while the model computes and {UPLOADERS} upload: {len(busy)} answers, {spread(busy)}")
        print(f"  memory: {memory(pid)}")
        queued = (await client.get("/metrics")).text
        print("  " + next(line for line in queued.splitlines() if 'state="done"' in line))
        await play(client, song, song_seconds)
        print(f"  memory: {memory(pid)}")


async def pressure(client: httpx.AsyncClient, ids: list[str], seconds: float, song: bytes | None = None) -> list[float]:
    """Waits for answers, sorted; with a recording, some clients upload it over and over."""
    waits: list[float] = []
    end = time.perf_counter() + seconds
    pollers = [poll(client, ids, waits, end) for _ in range(POLLERS)]
    uploaders = [upload(client, song, end) for _ in range(UPLOADERS)] if song else []
    await asyncio.gather(*pollers, *uploaders)
    return sorted(waits)


def spread(waits: list[float]) -> str:
    return f"median {1000 * waits[len(waits) // 2]:.0f} ms, 95 % below {1000 * waits[int(0.95 * len(waits))]:.0f} ms"


async def play(client: httpx.AsyncClient, song: bytes, song_seconds: float) -> None:
    """From the end of the separation to all that a player needs: tracks, pictures and the first piece."""
    id = await submit(client, song, "cinematic")
    while (found := (await client.get(f"/api/separations/{id}")).json())["state"] in ("queued", "running"):
        await asyncio.sleep(0.2)
    assert found["state"] == "done", found
    began = time.perf_counter()
    base = f"/api/separations/{id}"
    tracks = (await client.get(f"{base}/tracks")).json()
    views = [
        client.get(f"{base}/tracks/{index}/waveform", params={"start": 0, "stop": tracks["num_samples"]})
        for index in range(len(tracks["names"]))
    ]
    first = client.get(f"{base}/samples", params={"start": 0, "count": 2 * tracks["sample_rate"]})
    await asyncio.gather(first, *views)
    print(f"a song of {song_seconds:g} s can be seen and played {time.perf_counter() - began:.2f} s after it is done")
    if chromium() is not None:
        heard = await play_in_browser(str(client.base_url), id)
        print(f"  in Chromium, from pressing Listen and Play until it sounds: {heard:.2f} s")


async def play_in_browser(url: str, id: str) -> float:
    """From the list of recordings to the first sound, as a visitor has it."""
    from playwright.async_api import async_playwright

    async with async_playwright() as driver:
        arguments = ["--no-sandbox", "--autoplay-policy=no-user-gesture-required"]
        browser = await driver.chromium.launch(executable_path=chromium(), args=arguments)
        page = await browser.new_page()
        await page.goto(url)
        await page.locator("body.ready").wait_for()
        began = time.perf_counter()
        await page.evaluate("(id) => { location.hash = `#/listen/${id}`; }", id)
        await page.get_by_role("button", name="Play").click()
        await page.wait_for_function("() => document.querySelector('#player').player.transport.position > 0")
        heard = time.perf_counter() - began
        await browser.close()
    return heard


async def poll(client: httpx.AsyncClient, ids: list[str], waits: list[float], end: float) -> None:
    # Visitors do not come all at the same moment.
    await asyncio.sleep(float(np.random.default_rng().uniform(0, 1)))
    while time.perf_counter() < end:
        began = time.perf_counter()
        (await client.get("/api/separations", params={"ids": ids or ["none"]})).raise_for_status()
        waits.append(time.perf_counter() - began)
        await asyncio.sleep(1.0)


async def upload(client: httpx.AsyncClient, data: bytes, end: float) -> None:
    while time.perf_counter() < end:
        await submit(client, data, "speech", cancel=True)
        await asyncio.sleep(0.5)


async def submit(client: httpx.AsyncClient, data: bytes, model: str, cancel: bool = False) -> str:
    answer = await client.post("/api/separations", files={"file": ("a.wav", data)}, data={"model": model})
    answer.raise_for_status()
    id = answer.json()["id"]
    if cancel and answer.json().get("position") not in (None, 1):
        await client.delete(f"/api/separations/{id}")
    return id


async def until_it_answers(client: httpx.AsyncClient) -> None:
    for _ in range(600):
        try:
            await client.get("/health")
            return
        except httpx.TransportError:
            await asyncio.sleep(0.2)
    raise SystemExit("the server does not start")


def wav(seconds: float, rate: int, channels: int) -> bytes:
    file = io.BytesIO()
    samples = 0.1 * np.random.default_rng(0).standard_normal((round(seconds * rate), channels))
    soundfile.write(file, samples, rate, format="WAV", subtype="PCM_16")
    return file.getvalue()


def memory(pid: int) -> str:
    """Of the server and of the process that its model runs in."""
    found = [f"server {peak_mb(pid):.0f} MB at most"]
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        found += [f"process {peak_mb(int(child)):.0f} MB" for child in task.read_text().split()]
    return ", ".join(found)


def peak_mb(pid: int) -> float:
    """The most memory that a process has had."""
    status = Path(f"/proc/{pid}/status")
    if not status.exists():
        return resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1000
    line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) / 1000


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--song", type=float, default=SONG_SECONDS)
    arguments = parser.parse_args()
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    run(arguments.seconds, arguments.song)

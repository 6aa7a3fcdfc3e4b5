"""Pictures of the web page for docs/pictures/, taken in this machine's Chromium with the real page and the examples.

python -m benchmarks.pages.serve_pictures
"""

from __future__ import annotations

import argparse
import io
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image
from playwright.sync_api import Browser, Page, ViewportSize, sync_playwright

ROOT = Path(__file__).parents[2]
PICTURES = ROOT / "docs" / "pictures"
PORT = 8798
URL = f"http://127.0.0.1:{PORT}/"
RECORDINGS = {
    "cinematic": ("Film with rain.flac", ROOT / "examples" / "film" / "film-1" / "mixture.flac"),
    "speech": ("Two at a table.flac", ROOT / "examples" / "two-speakers-1" / "mixture.flac"),
}
DESKTOP, HOME = ViewportSize(width=1280, height=800), ViewportSize(width=1280, height=1000)
PHONE = ViewportSize(width=390, height=844)
PATIENCE_MS = 600_000
MOST_BYTES = 200_000
LISTENED = "Film with rain.flac"


def run(out: Path) -> None:
    """Separates the examples, and takes every picture."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "unbraid", "serve", "--port", str(PORT), "--folder", folder, "--device", "cpu"]
        # Nothing of this machine's own models is to be seen.
        environment = {**os.environ, "UNBRAID_CACHE": f"{folder}/cache", "HF_HUB_CACHE": f"{folder}/hub"}
        process = subprocess.Popen(command, stderr=subprocess.DEVNULL, env=environment)
        try:
            with sync_playwright() as driver:
                browser = driver.chromium.launch(executable_path=chromium(), args=["--no-sandbox"])
                take_all(browser, out)
                browser.close()
        finally:
            process.terminate()
            process.wait()


def take_all(browser: Browser, out: Path) -> None:
    page = open_page(browser, HOME)
    for model, (name, path) in RECORDINGS.items():
        page.locator(f"input[name=model][value={model}]").check()
        page.set_input_files("#files", [{"name": name, "mimeType": "audio/flac", "buffer": path.read_bytes()}])
        page.get_by_role("link", name=f"Listen to {name}").wait_for()
    kept = page.context.storage_state()
    save(page, out / "serve-home.png")
    page.set_viewport_size(DESKTOP)
    page.locator("#offers summary").click()
    page.locator("#offers").evaluate("(offers) => scrollTo(0, offers.offsetTop - 90)")
    page.locator(".offer button", has_text="Hybrid Transformer Demucs").first.click()
    save(page, out / "serve-download.png")
    light = open_page(browser, DESKTOP, storage_state=kept)
    listen(light)
    save(light, out / "serve-player.png")
    dark = open_page(browser, DESKTOP, color_scheme="dark", storage_state=kept)
    listen(dark)
    dark.keyboard.press("v")
    save(dark, out / "serve-dark.png")
    phone = open_page(browser, PHONE, device_scale_factor=1.5, has_touch=True, is_mobile=True, storage_state=kept)
    listen(phone)
    save(phone, out / "serve-phone.png")


def open_page(browser: Browser, viewport: ViewportSize, **settings) -> Page:
    page = browser.new_context(viewport=viewport, **settings).new_page()
    page.set_default_timeout(PATIENCE_MS)
    for _ in range(600):
        try:
            page.goto(URL)
            break
        except Exception:  # It has only just been started.
            page.wait_for_timeout(200)
    page.locator("body.ready").wait_for()
    return page


def listen(page: Page) -> None:
    """The player, a few seconds in, with one stem turned down."""
    page.get_by_role("link", name=f"Listen to {LISTENED}").click()
    page.locator(".transport").wait_for()
    page.evaluate("() => { const p = document.querySelector('#player').player; p.transport.seek(4.6 * p.rate); }")
    page.evaluate("() => { const p = document.querySelector('#player').player; p.setGain(p.stems[1], -6); }")


def save(page: Page, path: Path) -> None:
    """Without the place of a scroll bar, and with a palette where it would be too large, as spectrograms are."""
    page.wait_for_load_state("networkidle")
    page.wait_for_timeout(1000)
    width, height = page.evaluate("() => [document.body.clientWidth, innerHeight]")
    taken = page.screenshot(clip={"x": 0, "y": 0, "width": width, "height": height})
    if len(taken) > MOST_BYTES:
        with Image.open(io.BytesIO(taken)) as picture:
            smaller = io.BytesIO()
            picture.convert("RGB").quantize(256, dither=Image.Dither.NONE).save(smaller, "png", optimize=True)
            taken = smaller.getvalue()
    if len(taken) > MOST_BYTES:
        raise SystemExit(f"{path} would have {len(taken)} bytes, more than {MOST_BYTES}")
    path.write_bytes(taken)
    print(f"{path.name}  {len(taken) // 1000} kB", flush=True)


def chromium() -> str | None:
    """The system's own; None for the one that playwright has downloaded."""
    return next(
        (path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), None
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=PICTURES)
    run(parser.parse_args().out)

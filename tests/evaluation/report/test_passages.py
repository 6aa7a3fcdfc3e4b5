from __future__ import annotations

import base64
import io
import math
import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import soundfile
from PIL import Image

from tests.conftest import PATIENCE_SECONDS
from unbraid.audio.recording import Recording
from unbraid.errors import ConfigError
from unbraid.evaluation.report.passages import Passage
from unbraid.evaluation.report.reports import build_page, write_examples_report
from unbraid.evaluation.scores import TargetScore, TrackScore
from unbraid.evaluation.scoring import MEASURED
from unbraid.pictures.player.assets import report_script, script_hash

NASTY = """<script>alert("x")</script> & 'so' on"""


def tone(hz: float, level: float = 0.3, seconds: float = 0.5, rate: int = 16_000, channels: int = 1) -> Recording:
    samples = level * np.sin(2 * np.pi * hz * np.arange(round(seconds * rate)) / rate)
    return Recording(np.tile(samples.astype(np.float32), (channels, 1)), rate)


def target(source: str, estimate: str, *values: float) -> TargetScore:
    return TargetScore(source=source, estimate=estimate, metrics=dict(zip(MEASURED, values, strict=True)))


def make_item(title: str = "two tones", note: str = "", names: tuple[str, str] = ("speaker1", "speaker2")) -> Passage:
    references = {name: tone(hz) for name, hz in zip(names, (500, 3000), strict=True)}
    first, second = names
    return Passage(
        note=note,
        mixture=Recording(sum(one.samples for one in references.values()), 16_000),
        references=references,
        estimates={first: tone(500, 0.25), second: tone(3000, 1.2)},
        score=TrackScore(
            name=title,
            seconds=0.5,
            labels={},
            model_seconds=0.25,
            targets=(
                target(first, second, -0.5, 12.34, 12.84, -3.0),
                target(second, first, 0.0, -math.inf, -math.inf, math.nan),
            ),
        ),
    )


class Page(HTMLParser):
    """Tags with their attributes, and the text; fails on tags that are not closed in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.open: list[str] = []
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in ("meta", "img", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


@pytest.fixture(scope="module")
def page() -> Page:
    item = make_item(title=NASTY, note=f"first line\n{NASTY}", names=("speaker1", 'b" onerror="x'))
    return Page(build_page(NASTY, {"model": NASTY}, [(NASTY, [item])], measures=MEASURED))


def test_names_cannot_become_markup(page: Page):
    assert page.all("script") == [{"type": "module"}], "the player's alone"
    assert not any(name.startswith("on") for _, attributes in page.tags for name in attributes)
    assert page.text.count(NASTY) >= 5
    assert page.all("div")[1]["data-title"] == NASTY
    assert len(page.all("br")) == 2, "line breaks of a note are kept"


def test_the_page_asks_for_nothing(page: Page):
    sources = [value for _, attributes in page.tags for name, value in attributes.items() if name in ("src", "href")]
    assert len(sources) == 7 + 7, "pictures and players of mixture, references, estimates and errors"
    assert all(value and value.startswith("data:") for value in sources)
    assert "default-src 'none'" in next(a["content"] or "" for a in page.all("meta") if "http-equiv" in a)
    assert script_hash(f"\n{report_script()}") in next(
        a["content"] or "" for a in page.all("meta") if "http-equiv" in a
    )
    assert not re.search(r"url\(|@import|https?:", page.text.replace("http://www.w3.org/2000/svg", ""))


def test_the_page_can_be_read_without_seeing(page: Page):
    assert all("drawn: " in (image["alt"] or "") for image in page.all("img"))
    assert all(player["aria-label"] for player in page.all("audio"))
    levels = [int(tag[1]) for tag, _ in page.tags if re.fullmatch(r"h\d", tag)]
    assert levels == [1, 2, 3], "headings step by step"
    assert page.all("html") == [{"lang": "en"}]
    assert all("scope" in heading for heading in page.all("th"))


def test_scores_are_printed(page: Page):
    assert all(text in page.text for text in ("12.34", "−0.50", "+12.84", "−∞", "undefined", "mean"))


def test_sounds_are_at_one_gain_and_do_not_clip(page: Page):
    """An estimate of the item exceeds full scale, so everything is turned down by its 1.2."""
    peaks = []
    for player in page.all("audio"):
        data = base64.b64decode((player["src"] or "").split(",", 1)[1])
        samples, rate = soundfile.read(io.BytesIO(data))
        assert (rate, len(samples)) == (16_000, 8000)
        peaks.append(np.abs(samples).max())
    assert max(peaks) == pytest.approx(0.999, abs=1e-3)
    assert peaks[2] == pytest.approx(0.3 / 1.2, abs=1e-3)


def test_needs_no_matplotlib(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    for module in [name for name in sys.modules if name.startswith("matplotlib")]:
        monkeypatch.setitem(sys.modules, module, None)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    write_examples_report(tmp_path / "a" / "report.html", [make_item()])
    assert (tmp_path / "a" / "report.html").read_text(encoding="utf-8").startswith("<!DOCTYPE html>")


def test_the_script_is_one_without_names_twice():
    """All modules of the player stand in one."""
    names = re.findall(r"^(?:async )?(?:const|let|function|class) (\w+)", report_script(), flags=re.M)
    assert len(names) > 30
    assert len(names) == len(set(names))
    assert not re.search(r"^(import|export) ", report_script(), flags=re.M)
    assert "</" not in report_script()


def test_references_and_estimates_must_match():
    item = make_item()
    with pytest.raises(ConfigError, match="different names"):
        Passage(**{**vars(item), "estimates": {"speaker1": item.mixture}})


@pytest.mark.skipif(shutil.which("chromium") is None, reason="no chromium installed: apt-get install chromium")
def test_a_browser_shows_it_in_both_schemes(tmp_path: Path):
    write_examples_report(tmp_path / "report.html", [make_item()])
    corners = []
    for scheme in (0, 1):
        picture = tmp_path / f"{scheme}.png"
        command = [
            *("chromium", "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-sync"),
            *("--disable-background-networking", "--disable-component-update", "--hide-scrollbars"),
            *(f"--user-data-dir={tmp_path / 'profile'}", f"--blink-settings=preferredColorScheme={scheme}"),
            *("--window-size=1200,900", f"--screenshot={picture}", (tmp_path / "report.html").as_uri()),
        ]
        subprocess.run(command, check=True, capture_output=True, timeout=PATIENCE_SECONDS)
        corners.append(Image.open(picture).convert("L").getpixel((2, 2)))
    assert corners[0] < 32 < 224 < corners[1], "the colours of the page in the dark scheme and in the light one"

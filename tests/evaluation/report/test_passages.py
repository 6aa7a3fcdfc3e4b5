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
from unbraid.errors import ConfigError, MissingExtraError
from unbraid.evaluation.report.passages import Passage
from unbraid.evaluation.report.reports import build_page, write_examples_report
from unbraid.evaluation.scores import TargetScore, TrackScore
from unbraid.evaluation.scoring import MEASURED
from unbraid.pictures.sounds import HEIGHT_PIXELS, WIDTH_PIXELS, common_scale, draw_sound, log_spectrogram

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
    assert not page.all("script")
    assert not any(name.startswith("on") for _, attributes in page.tags for name in attributes)
    assert page.text.count(NASTY) >= 5
    assert len(page.all("br")) == 2, "line breaks of a note are kept"


def test_the_page_asks_for_nothing(page: Page):
    sources = [value for _, attributes in page.tags for name, value in attributes.items() if name in ("src", "href")]
    assert len(sources) == 7 + 7, "pictures and players of mixture, references, estimates and errors"
    assert all(value and value.startswith("data:") for value in sources)
    assert "default-src 'none'" in next(a["content"] or "" for a in page.all("meta") if "http-equiv" in a)
    assert not re.search(r"url\(|@import|https?:", page.text)


def test_the_page_can_be_read_without_seeing(page: Page):
    assert all("Waveform and spectrogram" in (image["alt"] or "") for image in page.all("img"))
    assert all(player["aria-label"] for player in page.all("audio"))
    levels = [int(tag[1]) for tag, _ in page.tags if re.fullmatch(r"h\d", tag)]
    assert levels == [1, 2, 3, 4, 4], "headings step by step"
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
    assert peaks[1] == pytest.approx(0.3 / 1.2, abs=1e-3)


def test_written_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    write_examples_report(tmp_path / "a" / "report.html", [make_item()])
    assert (tmp_path / "a" / "report.html").read_text(encoding="utf-8").startswith("<!DOCTYPE html>")
    for module in [name for name in sys.modules if name.startswith("matplotlib")]:
        monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingExtraError, match=r"unbraid\[report\]"):
        write_examples_report(tmp_path / "b" / "report.html", [make_item()])
    assert not list((tmp_path / "b").iterdir())


def test_references_and_estimates_must_match():
    item = make_item()
    with pytest.raises(ConfigError, match="different names"):
        Passage(**{**vars(item), "estimates": {"speaker1": item.mixture}})


def test_levels_are_against_a_full_scale_sine():
    levels = log_spectrogram(tone(1000, level=0.1, channels=2))
    assert levels.shape[0] == 257
    assert levels[:, 10].max() == pytest.approx(-20, abs=0.1)
    assert levels[:, 10].argmax() == round(1000 / 16_000 * 512)
    assert log_spectrogram(tone(1000, rate=44_100)).shape[0] == 1 + int(8000 * 1024 / 44_100)


@pytest.mark.parametrize(
    "recording",
    [
        tone(440, rate=44_100, channels=2),
        tone(440, rate=8000),
        Recording(np.zeros((1, 1), np.float32), 16_000),
        Recording(np.zeros((1, 5000), np.float32), 16_000),
    ],
    ids=["stereo", "8 kHz", "one sample", "silence"],
)
def test_any_sound_can_be_drawn(recording: Recording):
    picture = Image.open(io.BytesIO(draw_sound(recording, common_scale([recording]))))
    assert picture.size == (WIDTH_PIXELS, HEIGHT_PIXELS)


def test_pictures_share_their_scale():
    """The quieter of two sounds is drawn paler, and its waveform lower."""
    loud, quiet = tone(500, 0.5), tone(500, 0.005)
    scale = common_scale([loud, quiet])
    assert scale.peak == pytest.approx(0.5, abs=1e-3)
    dark = [np.mean(Image.open(io.BytesIO(draw_sound(one, scale))).convert("L")) for one in (loud, quiet)]
    assert dark[0] < dark[1]


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
    assert corners == [0, 255], "black in the dark scheme, white in the light one"

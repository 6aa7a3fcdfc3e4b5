"""The page of an evaluation, as text and in a browser."""

from __future__ import annotations

import base64
import io
import math
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import soundfile

from tests.conftest import PATIENCE_SECONDS
from tests.evaluation.conftest import RATE, write
from tests.evaluation.report.test_passages import Page
from unbraid.evaluation.estimates import FolderEstimates
from unbraid.evaluation.evaluate import TrackScored, collect_scores, evaluate
from unbraid.evaluation.measures import find_measures
from unbraid.evaluation.report.charts import Row, histogram, interval_chart
from unbraid.evaluation.report.reports import choose_items, write_score_report
from unbraid.evaluation.summary import summarise
from unbraid.evaluation.tracks import open_tracks
from unbraid.files.pending import PendingFile
from unbraid.pictures.player.assets import script_hash

CHROMIUM = shutil.which("chromium")
NASTY = """<b onload="x">"""


@pytest.fixture(scope="module")
def page_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page about a folder of estimates of two songs; one has a name that wants to be markup."""
    root = tmp_path_factory.mktemp("page")
    time = np.arange(round(1.2 * RATE)) / RATE
    for number, song in enumerate(("Song 1", "Song 2", NASTY)):
        for hz, stem in ((300, "vocals"), (900, "drums")):
            tone = 0.3 * np.sin(2 * np.pi * hz * time)[None]
            write(root / "songs" / song / f"{stem}.wav", tone)
            write(root / "tool" / song / f"{stem}.wav", tone * (0.9 - 0.2 * number))
    tracks = open_tracks(root / "songs")
    source = FolderEstimates(root / "tool", tracks)
    measures = find_measures("uSDR,cSDR")
    events = [event for event in evaluate(source, tracks, measures) if isinstance(event, TrackScored)]
    scores = collect_scores(source, tracks, measures, [event.score for event in events])
    file = PendingFile(root / "report.html")
    drawn = list(write_score_report(file, scores, summarise(scores), source, tracks))
    assert [event.count for event in drawn] == [3, 3, 3]
    return root / "report.html"


def test_the_page(page_file: Path):
    page = Page(page_file.read_text(encoding="utf-8"))
    assert page.all("script") == [{"type": "module"}]
    assert not page.all("b")
    assert page.text.count(NASTY) >= 2, "as a heading and in the table of all tracks"
    sources = [value or "" for _, tag in page.tags for name, value in tag.items() if name in ("src", "href")]
    assert len(page.all("audio")) == len(page.all("img")) == 3 * (1 + 3 * 2)
    assert all(source.startswith("data:") for source in sources)
    assert not re.search(r"url\(|@import|https?:", page.text.replace("http://www.w3.org/2000/svg", ""))
    assert all(image["alt"] for image in page.all("img"))
    assert all(chart["aria-label"] for chart in page.all("svg"))
    assert all(
        word in page.text for word in ("The worst by uSDR", "The best by uSDR", "All 3 tracks", "vocals", "Error")
    )
    samples, rate = soundfile.read(io.BytesIO(base64.b64decode(sources[1].split(",")[1])))
    assert rate in (8000, 44_100)
    assert len(samples) / rate == pytest.approx(1.2, abs=0.2)
    assert page_file.stat().st_size < 3e6


@pytest.mark.skipif(CHROMIUM is None, reason="no chromium installed: apt-get install chromium")
def test_a_browser_plays_and_draws_it(page_file: Path, tmp_path: Path):
    """Chromium, without a network: every picture has a size and every sound a length; nothing is blocked."""
    probe = tmp_path / "probe.html"
    script = """<script>
addEventListener("load", async () => {
  const places = [...document.querySelectorAll(".player")].map(one => one.player);
  const buffers = (await Promise.all(places.map(one => one.source.decoded()))).flat();
  const pictures = await Promise.all(places.flatMap(one => one.rows.map((_, track) => one.source.spectrogram(track))));
  const good = buffers.filter(one => one.duration > 1).length;
  const seen = pictures.filter(one => one.columns > 500 && Math.max(...one.data) > 100).length;
  const wide = document.documentElement.scrollWidth <= innerWidth, bars = document.querySelectorAll(".bar").length;
  document.title = `sounds ${good} of ${buffers.length}, pictures ${seen} of ${pictures.length}, ` +
    `fits ${wide}, bars ${bars}`;
});</script>"""
    text = page_file.read_text(encoding="utf-8")
    # The page itself allows no script but its own; only this copy is asked questions.
    allowed = script_hash(script.removeprefix("<script>").removesuffix("</script>"))
    probe.write_text(text.replace("script-src ", f"script-src {allowed} ", 1) + script)
    command = [
        *(str(CHROMIUM), "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-sync"),
        *("--disable-background-networking", "--disable-component-update", "--window-size=1200,900"),
        *(f"--user-data-dir={tmp_path / 'profile'}", "--virtual-time-budget=20000", "--dump-dom", probe.as_uri()),
    ]
    found = subprocess.run(command, check=True, capture_output=True, timeout=PATIENCE_SECONDS, text=True).stdout
    title = re.search(r"<title>(.*?)</title>", found)
    assert title
    assert title[1] == "sounds 21 of 21, pictures 21 of 21, fits true, bars 8"


def test_best_and_worst(make_scores):
    best, worst = choose_items(make_scores([5.0, 1.0, math.nan, 9.0, 3.0]), 2)
    assert [track.name for track in worst] == ["0001", "0004"]
    assert [track.name for track in best] == ["0003", "0000"]
    best, worst = choose_items(make_scores([5.0]), 3)
    assert (len(best), len(worst)) == (0, 1), "no track twice"


def test_charts_hold_any_values():
    for values in ([1.0], [2.0, 2.0], [-1e-9, 1e9], [math.nan, 3.0, math.inf], list(range(1000))):
        chart = histogram([float(value) for value in values], title="a <b>", unit="dB", marks=[("mean", 2.0)])
        assert "&lt;b&gt;" in chart
        Page(chart)
        assert "nan" not in chart
    assert "nothing can be said" in histogram([math.nan], title="a", unit="dB")
    rows = [Row(name="all", count=1, value=1.0, low=math.nan, high=math.nan)]
    assert "nan" not in interval_chart(rows, title="a", unit="dB")
    assert interval_chart([], title="a", unit="dB") == ""

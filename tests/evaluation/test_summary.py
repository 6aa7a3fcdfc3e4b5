"""Means, intervals, groups, comparisons, and the files that keep them."""

from __future__ import annotations

import csv
import io
import json
import math
from contextlib import suppress
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.mistyped import mistyped
from unbraid.errors import ConfigError, DataError, UnknownNameError
from unbraid.evaluation.compare import compare, comparison_data
from unbraid.evaluation.journal import Journal, identity
from unbraid.evaluation.scores import Scores, TargetScore, TrackScore, plain, read_scores, scores_csv, scores_json
from unbraid.evaluation.statistics import describe, interval, over_mean, over_median, paired_t_p, sign_flip_p
from unbraid.evaluation.summary import headline, summarise, summary_data


def labelled(*rows: tuple[str, str]) -> list[dict[str, str]]:
    return [{"sexes": sexes, "level": level} for sexes, level in rows]


def test_summary(make_scores):
    labels = labelled(("FM", "below 1 dB"), ("FF", "from 3 dB"), ("FM", "1 to 3 dB"), ("FF", "1 to 3 dB"))
    summary = summarise(make_scores([1.0, 3.0, 11.0, 5.0], labels=labels))
    improvement = summary.overall.measures["SI-SDRi"]
    assert (improvement.mean.value, improvement.median.value, improvement.count) == (5.0, 4.0, 4)
    assert 1.0 <= improvement.mean.low < 5.0 < improvement.mean.high <= 11.0
    assert {group.name: group.count for group in summary.breakdowns["sexes"]} == {"FF": 2, "FM": 2}
    assert [group.name for group in summary.breakdowns["level"]] == ["below 1 dB", "1 to 3 dB", "from 3 dB"]
    assert (summary.audio_seconds, summary.model_seconds) == (8.0, 2.0)
    again = summarise(make_scores([1.0, 3.0, 11.0, 5.0], labels=labels))
    assert repr(again) == repr(summary), "the bootstrap is seeded"
    assert headline(improvement, "SI-SDRi")[0] == 5.0
    assert headline(improvement, "cSDR")[0] == 4.0, "the literature takes the median"


def test_labels_are_chosen(make_scores):
    scores = make_scores([1.0, 2.0, 3.0], labels=labelled(("FM", "a"), ("FM", "b"), ("FM", "c")))
    assert not summarise(scores).breakdowns, "one value is no breakdown, and as many as tracks are none either"
    assert list(summarise(scores, by=["level"]).breakdowns) == ["level"]
    with pytest.raises(ConfigError, match="choose from level, sexes"):
        summarise(scores, by=["nosuch"])


def test_silence_in_a_summary(make_scores):
    summary = summarise(make_scores([10.0, -math.inf, math.nan]))
    assert (summary.overall.count, summary.overall.undefined) == (2, 1)
    mean = summary.overall.measures["SI-SDRi"].mean.value
    assert mean == -25.0, "a silent estimate counts as -60 dB and is not left out"
    assert summarise(make_scores([])).overall.count == 0


def stems(*tracks: dict[str, float]) -> Scores:
    return Scores(
        estimates={"kind": "folder", "name": "tool"},
        data={"name": "songs", "layout": "songs", "sources": ["vocals", "drums"], "exchangeable": False},
        metrics=("cSDR",),
        tracks=tuple(
            TrackScore(
                name=str(index),
                seconds=3.0,
                labels={},
                targets=tuple(
                    TargetScore(source=source, estimate=source, metrics={"cSDR": value}, frames={"SDR": [value, 1.0]})
                    for source, value in track.items()
                ),
            )
            for index, track in enumerate(tracks)
        ),
    )


def test_stems_are_averaged_after_the_tracks():
    """The median over everything, and the mean of the stems' medians over songs, which papers print."""
    scores = stems(
        {"vocals": 1.0, "drums": 10.0},
        {"vocals": 2.0, "drums": math.nan},
        {"vocals": 9.0, "drums": 20.0},
        {"drums": 0.0},
    )
    summary = summarise(scores)
    assert [group.name for group in summary.sources] == ["vocals", "drums"]
    assert [group.measures["cSDR"].median.value for group in summary.sources] == [2.0, 10.0]
    assert [group.count for group in summary.sources] == [3, 3]
    assert summary.overall.measures["cSDR"].median.value == 5.5
    assert summary.overall.measures["cSDR"].source_medians.value == 6.0
    assert summary.overall.measures["cSDR"].mean.value == 7.0


def test_intervals_cover_the_truth():
    """A 95 % interval over normal scores should miss the true value about once in twenty times."""
    rng = np.random.default_rng(0)
    missed = 0
    for _ in range(40):
        table = rng.normal(8, 3, (30, 1))
        for statistic in (over_mean, over_median):
            found = interval(table, statistic, draws=300)
            missed += not found.low <= 8 <= found.high
    assert missed <= 11


def test_intervals_of_little():
    assert math.isnan(describe(np.zeros((0, 2))).mean.value)
    one = describe(np.array([[3.0]]))
    assert (one.mean.value, one.count) == (3.0, 1)
    assert math.isnan(one.mean.low)
    drawn_apart = interval(np.random.default_rng(0).normal(size=(5000, 1)), over_mean, draws=1200)
    assert drawn_apart.high - drawn_apart.low == pytest.approx(2 * 1.96 / math.sqrt(5000), rel=0.15)


def test_sign_flips():
    assert sign_flip_p(np.array([1.0, 1.0, 1.0, 1.0])) == 2 / 16, "exact: all signs alike, twice in sixteen"
    assert sign_flip_p(np.array([1.0, -1.0])) == 1.0
    assert math.isnan(sign_flip_p(np.array([])))
    assert sign_flip_p(np.zeros(40)) == 1.0
    assert sign_flip_p(np.full(40, 0.1)) == pytest.approx(1 / 20_001)
    rng = np.random.default_rng(1)
    low = sum(sign_flip_p(rng.normal(size=20), flips=500) < 0.05 for _ in range(200))
    assert 2 <= low <= 22, "without a difference, five in a hundred are below 0.05"


def test_the_paired_t_test_is_that_of_scipy():
    from scipy.stats import ttest_rel

    first, second = np.random.default_rng(0).normal(size=(2, 12))
    assert paired_t_p(second - first) == pytest.approx(ttest_rel(first, second).pvalue, rel=1e-9)
    assert paired_t_p(np.array([0.3, math.nan, 0.3])) == 0.0
    assert paired_t_p(np.zeros(3)) == 1.0
    assert math.isnan(paired_t_p(np.array([1.0])))


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 1000))
def test_a_shift_moves_a_comparison_by_itself(seed: int):
    values = np.random.default_rng(seed).normal(5, 2, 12)
    assert sign_flip_p(values - values.mean()) > 0.5
    moved = interval((values + 1)[:, None], over_mean)
    still = interval(values[:, None], over_mean)
    assert moved.low - still.low == pytest.approx(1)


def test_comparison(make_scores):
    first, second = make_scores([1.0, 2.0, 3.0, 4.0]), make_scores([2.0, 3.0, 2.5, 7.0])
    result = compare(first, second)
    assert (result.measure, result.overall.count, result.overall.better, result.overall.worse) == ("SI-SDRi", 4, 3, 1)
    assert result.overall.mean.value == pytest.approx(1.125)
    assert result.overall.mean.low < 1.125 < result.overall.mean.high
    assert result.changes[0].track == "0002"
    assert all(one.difference <= other.difference for one, other in pairwise(result.changes))
    assert compare(second, first).overall.mean.value == pytest.approx(-1.125)
    assert compare(first, second, "snr").measure == "SNR"
    assert not result.falls_short(0.0)
    assert result.falls_short(-2.0), "asked to be better by two"
    assert compare(second, first).falls_short(1.0)
    assert not compare(second, first).falls_short(1.2)
    assert json.dumps(comparison_data(result), allow_nan=False)


def test_comparison_of_stems_shows_each():
    first = stems({"vocals": 1.0, "drums": 10.0}, {"vocals": 2.0, "drums": math.nan})
    second = stems({"vocals": 2.0, "drums": 9.0}, {"vocals": 3.0, "drums": math.nan})
    result = compare(first, second)
    assert [(row.name, row.count, row.mean.value) for row in result.sources] == [("vocals", 2, 1.0), ("drums", 1, -1.0)]


def test_what_cannot_be_compared_is_refused(make_scores):
    first = make_scores([1.0, 2.0, 3.0])
    other = make_scores([1.0, 2.0, 3.0], names=["0001", "0002", "0003"])
    with pytest.raises(
        DataError, match=r"2 in common, 1 \('0000'\) only in the first, 1 \('0003'\).*intersection=True"
    ):
        compare(first, other)
    result = compare(first, other, intersection=True)
    assert (result.overall.count, result.left_out) == (2, (1, 1))
    with pytest.raises(DataError, match="no track in common"):
        compare(first, make_scores([1.0], names=["x"]), intersection=True)
    with pytest.raises(DataError, match="not in both files"):
        compare(first, other, "cSDR")
    with pytest.raises(DataError, match="no metric in common"):
        compare(first, stems({"vocals": 1.0}))
    elsewhere = Scores(**{**vars(first), "data": {**first.data, "name": "another"}})
    with pytest.raises(DataError, match="different data, 'some list' and 'another'"):
        compare(first, elsewhere)
    longer = TrackScore(**{**vars(first.tracks[0]), "seconds": 2.5})
    with pytest.raises(DataError, match=r"'0000' is 2.00 s long in the first file and 2.50 s"):
        compare(first, Scores(**{**vars(first), "tracks": (longer, *first.tracks[1:])}))


def test_files_come_back(make_scores, tmp_path: Path):
    scores = stems({"vocals": 1.25, "drums": math.nan}, {"vocals": math.inf, "drums": -math.inf})
    path = tmp_path / "scores.json"
    path.write_text(scores_json(scores))
    read = read_scores(path)
    assert read.tracks[0].targets[0] == scores.tracks[0].targets[0]
    assert math.isnan(read.tracks[0].targets[1].metrics["cSDR"])
    assert [target.metrics["cSDR"] for target in read.tracks[1].targets] == [200.0, -200.0]
    frame = json.loads(path.read_text())["tracks"][0]["targets"][0]["frames"][1]
    assert frame == {"time": 1.0, "duration": 1.0, "metrics": {"SDR": 1.0}}, "the shape that museval gives"
    rows = list(csv.DictReader(io.StringIO(scores_csv(scores))))
    assert [(row["track"], row["source"], row["cSDR"]) for row in rows[:2]] == [
        ("0", "vocals", "1.25"),
        ("0", "drums", ""),
    ]


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"format": 1}', '{"format": 2}', '{"format": 2, "tracks": [{}]}'])
def test_other_files_are_refused(tmp_path: Path, text: str):
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(DataError, match=r"a\.json"):
        read_scores(tmp_path / "a.json")
    with pytest.raises(DataError, match="No such file"):
        read_scores(tmp_path / "b.json")


def test_mistyped_scores_are_refused_in_one_sentence(make_scores, tmp_path: Path):
    """Every value of a whole file in turn becomes one of another type, or goes."""
    whole = json.loads(scores_json(replace(stems({"vocals": 1.25}, {"vocals": 2.0}), summary={})))
    good, path, count = tmp_path / "good.json", tmp_path / "a.json", 0
    good.write_text(json.dumps(whole))
    for other in mistyped(whole):
        path.write_text(json.dumps(other))
        count += 1
        with suppress(DataError, UnknownNameError):
            comparison_data(compare(read_scores(good), read_scores(path)))
    assert count > 300


@pytest.mark.parametrize(
    "text", ["[" * 100_000, '{"format": 2, "data": ' + "[" * 200 + "]" * 200 + "}", '{"format": NaN}']
)
def test_deep_and_odd_json_is_refused(make_scores, tmp_path: Path, text: str):
    path = tmp_path / "scores.json"
    path.write_text(text)
    with pytest.raises(DataError, match=r"scores\.json is not JSON \("):
        read_scores(path)
    journal = Journal(path, identity(make_scores([1.0])))
    journal.path.write_text(f"{text}\n")
    with pytest.raises(DataError, match=r"damaged \("):
        journal.resume()


def test_a_journal_survives_a_crash(make_scores, tmp_path: Path):
    scores = make_scores([1.0, 2.0, 3.0])
    journal = Journal(tmp_path / "scores.json", identity(scores))
    journal.begin()
    for track in scores.tracks[:2]:
        journal.append(track)
    with journal.path.open("a") as file:
        file.write('{"name": "0002", "seco')
    again = Journal(tmp_path / "scores.json", identity(scores))
    with pytest.raises(DataError, match="holds 2 tracks of an interrupted evaluation: continue with `resume=True`"):
        again.begin()
    assert again.resume() == list(scores.tracks[:2])
    again.append(scores.tracks[2])
    assert Journal(tmp_path / "scores.json", identity(scores)).resume() == list(scores.tracks)
    other = {**identity(scores), "metrics": ("SNR",)}
    with pytest.raises(DataError, match="another evaluation \\(other metrics\\)"):
        Journal(tmp_path / "scores.json", other).resume()
    (tmp_path / "scores.json").write_text(scores_json(scores))
    journal.remove()
    assert Journal(tmp_path / "scores.json", identity(scores)).resume() == list(scores.tracks), (
        "a whole file goes on too"
    )


def test_a_damaged_journal_is_refused(make_scores, tmp_path: Path):
    scores = make_scores([1.0])
    journal = Journal(tmp_path / "scores.json", identity(scores))
    journal.begin()
    with journal.path.open("a") as file:
        file.write("nonsense\n")
    with pytest.raises(DataError, match="damaged"):
        journal.resume()


def test_the_card_of_a_model_reads_the_file(make_scores):
    """`benchmarks/pages/model_card.py` makes tables of what `unbraid evaluate --json` writes."""
    from benchmarks.pages.model_card import scores_tables

    scores = make_scores([1.0, 2.0, 6.0], labels=labelled(("FM", "a"), ("FF", "a"), ("FM", "a")))
    values = {target.source: target.metrics["SI-SDRi"] for target in scores.tracks[0].targets}
    assert values == {"speaker1": 1.0, "speaker2": 1.0}
    renamed = json.loads(scores_json(scores).replace('"SNR"', '"SI-SDR"'))
    renamed["summary"] = json.loads(json.dumps(plain(summary_data(summarise(scores)))).replace('"SNR"', '"SI-SDR"'))
    table = scores_tables(renamed)
    assert "| all | 3 | 1.00 | 4.00 | +3.00 |" in table
    assert "| sexes: FF | 1 | 1.00 | 3.00 | +2.00 |  | +2.00 |" in table
    assert "`some list`" in table

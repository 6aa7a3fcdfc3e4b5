"""`unbraid evaluate` and `unbraid compare`, from what is typed to what is written."""

from __future__ import annotations

import csv
import json
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile

from tests.cli.conftest import environment, hear_ctrl_c, tree
from tests.conftest import PATIENCE_SECONDS
from unbraid.data.lists.draw_pairs import list_mixtures
from unbraid.data.lists.speaker_pairs import write_list
from unbraid.data.open import open_dataset

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture
def listed(corpus_root: Path, tmp_path: Path) -> Path:
    path = tmp_path / "list.csv"
    write_list(list_mixtures(open_dataset(corpus_root, "test"), 3, seed=0), path)
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """What another tool made of the examples: the speakers, the wrong way round, with some error."""
    for mixture in EXAMPLES.glob("*/mixture.flac"):
        for number in (1, 2):
            samples, rate = soundfile.read(mixture.with_name(f"speaker{number}.flac"))
            noise = 0.01 * np.random.default_rng(number).standard_normal(len(samples))
            target = tmp_path / "tool" / mixture.parent.name / f"spk{3 - number}.wav"
            target.parent.mkdir(parents=True, exist_ok=True)
            soundfile.write(target, samples + noise, rate)
    return tmp_path / "tool"


def test_each_model_has_its_own_list(run, corpus_root, tiny):
    """Which this corpus lacks: what is missing tells the lists apart."""
    outcome = run("evaluate", tiny, corpus_root)
    assert outcome.code == 1
    assert "libri/test" in outcome.err
    outcome = run("evaluate", "cinematic", corpus_root)
    assert outcome.code == 1
    assert "music/manifest.csv" in outcome.err


def test_a_list_prints_tables_and_writes_files(run, corpus_root, listed, tiny, tmp_path):
    files = {kind: tmp_path / "out" / f"scores.{kind}" for kind in ("json", "csv")}
    arguments = ("--data", corpus_root, "--list", listed, "--json", files["json"], "--csv", files["csv"])
    outcome = run("evaluate", tiny, *arguments, "--by", "sexes", "--by", "track")
    assert outcome.code == 0, outcome.err
    assert all(
        word in outcome.out for word in ("SI-SDRi in dB", "mean", "95 %", "median", "by sexes", "0002", "3 tracks")
    )
    scores = json.loads(files["json"].read_text())
    mean = np.mean([target["metrics"]["SI-SDRi"] for one in scores["tracks"] for target in one["targets"]])
    overall = scores["summary"]["overall"]["measures"]["SI-SDRi"]
    assert overall["mean"]["value"] == pytest.approx(mean, abs=1e-4)
    assert overall["mean"]["low"] <= mean <= overall["mean"]["high"]
    assert (scores["data"]["name"], scores["estimates"]["kind"]) == ("list", "model")
    assert len(scores["estimates"]["sha256"]) == 64
    with files["csv"].open() as file:
        assert [row["track"] for row in csv.DictReader(file)] == ["0000", "0000", "0001", "0001", "0002", "0002"]
    assert tree(tmp_path / "out") == {"scores.json", "scores.csv"}


def test_data_instead_of_tables(run, corpus_root, listed, tiny):
    arguments = ("--list", listed, "--limit", 1, "--json", "-", "--chunked", "--metrics", "si-sdr")
    outcome = run("evaluate", tiny, corpus_root, *arguments)
    assert outcome.code == 0, outcome.err
    scores = json.loads(outcome.out)
    assert [one["name"] for one in scores["tracks"]] == ["0000"]
    assert scores["metrics"] == ["SI-SDR"]


def test_a_folder_of_another_tool(run, folder, tmp_path):
    outcome = run("evaluate", folder, EXAMPLES, "--json", tmp_path / "a.json", "--metrics", "si-sdri,cSDR", "-j", 1)
    assert outcome.code == 0, outcome.err
    scores = json.loads((tmp_path / "a.json").read_text())
    assert [target["estimate"] for target in scores["tracks"][0]["targets"]] == ["spk2", "spk1"]
    frames = scores["tracks"][0]["targets"][0]["frames"]
    assert [frame["time"] for frame in frames] == [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]
    (folder / "two-speakers-1" / "spk1.wav").unlink()
    outcome = run("evaluate", folder, EXAMPLES)
    assert outcome.code == 1
    assert "estimates are missing" in outcome.errors[0]
    outcome = run("evaluate", folder, EXAMPLES, "--skip-missing", "-j", 1)
    assert outcome.code == 0
    assert "1 of 2 tracks" in outcome.warnings[0]


def test_an_interrupted_evaluation_goes_on(run, corpus_root, listed, tiny, tmp_path):
    """The second run finds the first track done; its score is not measured again but taken as it stands."""
    target = tmp_path / "scores.json"
    run("evaluate", tiny, corpus_root, "--list", listed, "--json", target, "--limit", 1)
    kept = json.loads(target.read_text())
    kept["tracks"][0]["targets"][0]["metrics"]["SI-SDRi"] = 77.0
    target.write_text(json.dumps(kept))
    outcome = run("evaluate", tiny, corpus_root, "--list", listed, "--json", target, "--resume")
    assert outcome.code == 0, outcome.err
    assert "1 of 3 tracks are done already" in outcome.err
    tracks = json.loads(target.read_text())["tracks"]
    assert [one["name"] for one in tracks] == ["0000", "0001", "0002"]
    assert tracks[0]["targets"][0]["metrics"]["SI-SDRi"] == 77.0
    outcome = run("evaluate", tiny, corpus_root, "--list", listed, "--json", target, "--resume", "--metrics", "SNR")
    assert "another evaluation" in outcome.errors[0]


def test_ctrl_c_keeps_what_is_done(command, corpus_root, listed, tiny, tmp_path):
    rows = listed.read_text().splitlines()
    many = [rows[0]] + [f"{index:04d}{rows[1][4:]}" for index in range(2000)]
    listed.write_text("\n".join(many) + "\n")
    target = tmp_path / "out" / "scores.json"
    arguments = command("evaluate", tiny, corpus_root, "--list", listed, "--json", target, "--metrics", "SI-SDR")
    process = subprocess.Popen(
        arguments,
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=environment(),
        text=True,
        preexec_fn=hear_ctrl_c,
    )
    partial = target.with_name("scores.json.partial")
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline and (not partial.exists() or partial.read_text().count("\n") < 4):
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=PATIENCE_SECONDS)
    assert process.returncode == 130
    assert "continue with --resume" in errors
    assert "Traceback" not in errors
    assert tree(tmp_path / "out") == {"scores.json.partial"}
    before = partial.read_text()
    assert all(json.loads(line) for line in before.splitlines())
    again = subprocess.run(arguments, capture_output=True, env=environment(), text=True, timeout=PATIENCE_SECONDS)
    assert (again.returncode, partial.read_text()) == (1, before)
    assert "continue with --resume, or remove" in again.stderr


def test_a_bad_track_leaves_the_others_and_a_status(run, folder, tmp_path):
    data = tmp_path / "data"
    shutil.copytree(EXAMPLES, data)
    for file in (data / "two-speakers-1").glob("speaker1.flac"):
        content = file.read_bytes()
        file.write_bytes(content[:5000] + bytes(len(content) - 5000))
    outcome = run("evaluate", folder, data, "--json", tmp_path / "scores.json", "-j", 1, "--metrics", "SNR")
    assert outcome.code == 1
    assert any("two-speakers-1" in line for line in outcome.errors)
    assert [one["name"] for one in json.loads((tmp_path / "scores.json").read_text())["tracks"]] == ["two-speakers-2"]
    shutil.copy(EXAMPLES / "two-speakers-1" / "speaker1.flac", data / "two-speakers-1")
    arguments = ("--json", tmp_path / "scores.json", "-j", 1, "--metrics", "SNR", "--resume")
    outcome = run("evaluate", folder, data, *arguments)
    assert outcome.code == 0, outcome.err
    assert len(json.loads((tmp_path / "scores.json").read_text())["tracks"]) == 2
    assert not (tmp_path / "scores.json.partial").exists()


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("MODEL",), "no data are named"),
        (("MODEL", "DATA", "--data", "DATA"), "named twice"),
        (("MODEL", "DATA", "--resume"), "--resume continues the file of --json"),
        (("MODEL", "DATA", "--metrics", "best"), "there is no metric 'best'"),
        (("MODEL", "nowhere"), "'nowhere' does not exist"),
        (("MODEL", "DATA", "--list", "nosuch"), "there is no list 'nosuch'"),
        (("nosuch", "DATA", "--list", "LIST"), "there is no model 'nosuch'"),
        (("DATA", "DATA", "--list", "LIST", "--shifts", "2"), "settings of models"),
        (("MODEL", "DATA", "--list", "LIST", "--whole", "--overlap", "0.2"), "takes no settings of chunks"),
        (("MODEL", "DATA", "--protocol", "lrs2", "--overlap", "0.2"), "lrs2 fixes what --overlap sets"),
        (("MODEL", "DATA", "--list", "LIST", "--protocol", "museval"), "is for stems"),
        (("MODEL", "DATA", "--list", "LIST", "--by", "nosuch", "--limit", "1"), "no track has the label 'nosuch'"),
    ],
)
def test_mistakes(run, corpus_root, listed, tiny, tmp_path, monkeypatch, arguments, sentence):
    monkeypatch.chdir(tmp_path)
    names = {"MODEL": tiny, "DATA": str(corpus_root), "LIST": str(listed)}
    outcome = run("evaluate", *(names.get(argument, argument) for argument in arguments))
    assert outcome.code == 1
    assert sentence in outcome.errors[0]


def test_an_older_file_is_kept_when_it_fails(run, corpus_root, tiny, tmp_path):
    (tmp_path / "list.csv").write_text("nothing\n")
    (tmp_path / "scores.json").write_text("old")
    outcome = run("evaluate", tiny, corpus_root, "--list", tmp_path / "list.csv", "--json", tmp_path / "scores.json")
    assert outcome.code == 1
    assert (tmp_path / "scores.json").read_text() == "old"
    assert len(list(tmp_path.iterdir())) == 2


def test_a_protocol_says_what_it_fixes(run, folder, tmp_path):
    path = tmp_path / "scores.json"
    outcome = run("evaluate", folder, EXAMPLES, "--protocol", "lrs2", "--json", path, "-j", 1)
    assert outcome.code == 0, outcome.err
    assert "SI-SNRi in dB: tool on examples (all), protocol lrs2" in outcome.out
    assert "SI-SNRi is SI-SDRi" in outcome.out
    assert "should come from whole recordings" in outcome.out
    assert json.loads(path.read_text())["protocol"]["name"] == "lrs2"


def test_metrics_are_listed(run):
    outcome = run("evaluate", "--list-metrics")
    assert outcome.code == 0
    assert all(name in outcome.out for name in ("SI-SDRi", "cSDR", "uSDR-ch", "SAR"))


@pytest.fixture
def two_files(run, folder, corpus_root, tiny, tmp_path) -> tuple[Path, Path]:
    paths = (tmp_path / "a.json", tmp_path / "b.json")
    for estimates, path in zip((tiny, folder), paths, strict=True):
        assert run("evaluate", estimates, EXAMPLES, "--json", path, "--metrics", "SI-SDRi,SNR", "-j", 1).code == 0
    return paths


def test_compare(run, two_files):
    first, second = two_files
    outcome = run("compare", first, second)
    assert outcome.code == 0
    assert all(word in outcome.out for word in ("B - A", "95 %", "gained most", "two-speakers-1"))
    assert "lost most" not in outcome.out
    data = json.loads(run("compare", first, second, "--json", "--metric", "snr").out)
    assert data["measure"] == "SNR"
    assert data["overall"]["count"] == 2
    assert data["gate"] is None


def test_a_threshold_sets_the_status(run, two_files):
    first, second = two_files
    assert run("compare", first, second, "--threshold", "0").code == 0
    outcome = run("compare", second, first, "--threshold", "0.5")
    assert outcome.code == 1
    assert "B is worse than A by more than 0.5" in outcome.errors[0]
    assert "B is not better by 90" in run("compare", first, second, "--threshold=-90").errors[0]
    outcome = run("compare", second, first, "--threshold", "0.5", "--json")
    assert (outcome.code, json.loads(outcome.out)["gate"]) == (1, {"threshold": 0.5, "passed": False})
    assert run("compare", first, first, "--threshold", "0").code == 0


def test_other_tracks_are_not_compared_silently(run, two_files, folder, tmp_path):
    first, _ = two_files
    run("evaluate", folder, EXAMPLES, "--json", tmp_path / "one.json", "--metrics", "SI-SDRi", "--limit", 1, "-j", 1)
    outcome = run("compare", first, tmp_path / "one.json")
    assert outcome.code == 1
    assert "--intersection" in outcome.errors[0]
    outcome = run("compare", first, tmp_path / "one.json", "--intersection")
    assert outcome.code == 0
    assert "compared are the 1 tracks in both" in outcome.warnings[0]
    assert os.path.getsize(first) > 0

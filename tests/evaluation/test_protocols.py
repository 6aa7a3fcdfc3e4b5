"""A protocol's figures are those of the paper's script, and what it fixes is said and kept."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.conftest import TINY
from tests.evaluation.conftest import write
from unbraid.errors import ConfigError, UnknownNameError
from unbraid.evaluation.compare import compare
from unbraid.evaluation.estimates import FolderEstimates, round_to_bits
from unbraid.evaluation.evaluate import TrackScored, collect_scores, evaluate
from unbraid.evaluation.measures import MEASURES
from unbraid.evaluation.protocols import PROTOCOLS, columns_of, find_protocol
from unbraid.evaluation.scores import Scores, read_scores, scores_json
from unbraid.evaluation.summary import summarise
from unbraid.evaluation.tracks import TrackList, open_tracks
from unbraid.metrics.csdr import csdr
from unbraid.metrics.song import dnr_si_sdr, usdr_per_channel
from unbraid.models.catalog import build_model
from unbraid.separation.separator import Separator

RATE = 44_100


@pytest.fixture(scope="module")
def music(tmp_path_factory) -> tuple[Path, Path]:
    """Three songs of 2.5 s with two stems each, and estimates whose error grows from song to song; the drums rest in
    the first second of the first song, and all through the last."""
    root = tmp_path_factory.mktemp("music")
    for number in range(3):
        rng = np.random.default_rng(number)
        stems = {stem: 0.1 * rng.standard_normal((2, round(2.5 * RATE))) for stem in ("vocals", "drums")}
        stems["drums"][:, : RATE if number == 0 else 0] = 0
        if number == 2:
            stems["drums"][:] = 0
        for stem, samples in stems.items():
            error = 0.01 * 2**number * rng.standard_normal(samples.shape) * [[1.0], [3.0]]
            write(root / "songs" / f"Song {number}" / f"{stem}.wav", samples, RATE)
            write(root / "tool" / f"Song {number}" / f"{stem}.wav", samples + error, RATE)
    return root / "songs", root / "tool"


def score(folder: Path, tracks: TrackList, name: str) -> Scores:
    protocol = find_protocol(name)
    protocol.check(tracks)
    estimates = FolderEstimates(folder, tracks)
    events = list(evaluate(estimates, tracks, protocol.measures))
    assert all(isinstance(event, TrackScored) for event in events), events
    scored = [event.score for event in events if isinstance(event, TrackScored)]
    return collect_scores(estimates, tracks, protocol.measures, scored, protocol)


def signals(tracks: TrackList, folder: Path, number: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Estimates and references of one song, vocals then drums."""
    track = tracks.tracks[number]
    estimates = FolderEstimates(folder, tracks)
    with estimates.open(track, ("vocals", "drums")) as opened:
        found = torch.from_numpy(opened.read(0, track.num_samples))
    return found, torch.from_numpy(track.read_references(("vocals", "drums"), 0, track.num_samples))


def test_sfc_on_music_is_scored_jointly_and_by_channel(music):
    songs, folder = music
    tracks = open_tracks(songs)
    scores = score(folder, tracks, "sfc-musdb")
    pairs = [signals(tracks, folder, number) for number in range(3)]
    joint = np.array([csdr(*pair, RATE, "joint").numpy() for pair in pairs])
    by_channel = np.array([usdr_per_channel(*pair).numpy() for pair in pairs])
    summary = summarise(scores)
    average = summary.overall.measures["cSDR-joint"].source_medians.value
    assert average == pytest.approx(np.nanmedian(joint, axis=0).mean(), abs=1e-6)
    # The last song's drums are nothing but error: 10 log10(1e-8 / energy), which no limit of 60 dB may touch.
    assert by_channel[2, 1] < -60
    assert summary.overall.measures["uSDR-ch"].mean.value == pytest.approx(by_channel.mean(), abs=1e-6)
    assert [column.name for column in columns_of(scores.protocol)] == ["cSDR", "uSDR"]


def test_silent_references_count_on_divide_and_remaster(music):
    songs, folder = music
    tracks = open_tracks(songs)
    scores = score(folder, tracks, "sfc-dnr")
    expected = [dnr_si_sdr(*signals(tracks, folder, number)).tolist() for number in range(3)]
    found = [[target.metrics["SI-SDR-dnr"] for target in track.targets] for track in scores.tracks]
    assert np.allclose(found, expected, atol=1e-6)
    assert found[2][1] == -80.0
    assert not any(math.isnan(target.metrics["uSDR-ch"]) for track in scores.tracks for target in track.targets)


def test_each_source_alone_keeps_the_seconds_that_the_others_rest(music):
    songs, folder = music
    tracks = open_tracks(songs)
    alone, together = score(folder, tracks, "bytesep"), score(folder, tracks, "museval")
    first, second = signals(tracks, folder, 0)
    assert alone.tracks[0].targets[0].metrics["cSDR"] == pytest.approx(float(csdr(first, second, RATE, "single")[0]))
    assert together.tracks[0].targets[0].metrics["cSDR-joint"] != alone.tracks[0].targets[0].metrics["cSDR"]


def test_a_file_of_scores_says_by_which_protocol(music, tmp_path: Path):
    songs, folder = music
    scores = score(folder, open_tracks(songs), "sfc-musdb")
    path = tmp_path / "scores.json"
    path.write_text(scores_json(scores))
    again = read_scores(path)
    assert again.protocol["name"] == "sfc-musdb"
    assert again.protocol["separation"] == {
        "segment_seconds": 12.0,
        "overlap": 0.5,
        "join": "average",
        "input_level": "normalised",
    }
    assert columns_of(again.protocol) == find_protocol("sfc-musdb").columns
    assert compare(again, score(folder, open_tracks(songs), "sfc-dnr"), "uSDR-ch").protocols == ("sfc-musdb", "sfc-dnr")


def test_every_protocol_can_be_said_and_run(music):
    tracks = open_tracks(music[0])
    for name, protocol in PROTOCOLS.items():
        assert protocol.name == name
        assert {column.measure for column in protocol.columns} <= set(MEASURES)
        assert name in " ".join(protocol.sentences(from_folder=False))
        assert protocol.whole == protocol.exchangeable
    assert find_protocol("museval").doubt(tracks) is None
    with pytest.raises(ConfigError, match="is for speakers"):
        find_protocol("wsj0").check(tracks)
    with pytest.raises(UnknownNameError, match="sfc-dnr"):
        find_protocol("dnr")


def test_another_rate_is_another_figure(songs: Path):
    assert "8000 Hz" in str(find_protocol("museval").doubt(open_tracks(songs)))


def test_rounding_is_that_of_a_file():
    samples = np.array([0.1, -1.5, 1.5, 2**-24 * 0.9, 2**-23], np.float32)
    rounded = round_to_bits(samples, 24)
    assert rounded.tolist()[1:] == [-1.0, 1 - 2**-23, 0.0, 2**-23]
    assert abs(rounded[0] - samples[0]) <= 2**-24


def test_noise_beside_speakers_is_nobodys_source(tmp_path: Path):
    rng = np.random.default_rng(0)
    signals = {name: 0.1 * rng.standard_normal((1, 4000)) for name in ("speaker1", "speaker2", "noise")}
    for name, samples in signals.items():
        write(tmp_path / "a" / f"{name}.wav", samples)
    write(tmp_path / "a" / "mixture.wav", sum(signals.values()))
    tracks = open_tracks(tmp_path)
    assert tracks.exchangeable
    assert tracks.sources == ("speaker1", "speaker2")
    mixture = tracks.tracks[0].read_mixture(0, 4000)
    assert np.allclose(mixture, sum(signals.values()), atol=1e-6)
    # Another tool's folder may hold the noise as well.
    assert set(FolderEstimates(tmp_path, tracks).clips["a"]) == {"speaker1", "speaker2"}


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("sfc-musdb", "normalised"),
        ("sfc-dnr", "normalised"),
        ("bytesep", "as-given"),
        ("museval", None),
        ("wsj0", "as-given"),
        ("librimix", "as-given"),
        ("lrs2", "as-given"),
    ],
)
def test_a_protocol_fixes_how_loud_a_model_gets_its_input(name, wanted):
    assert find_protocol(name).settings.get("input_level") == wanted
    assert find_protocol(name).facts()["level"] == wanted


@pytest.mark.parametrize(
    ("spec_level", "input_level", "rms"),
    [
        ("normalised", None, 10 ** (-25 / 20)),
        ("normalised", "as-given", 0.3),
        ("as-given", None, 0.3),
        ("as-given", "normalised", 10 ** (-25 / 20)),
        ("whole-file", "as-given", 1.0),
    ],
)
def test_a_model_gets_the_level_that_is_fixed(spec_level, input_level, rms):
    model = build_model("s4m-tiny", **TINY["s4m-tiny"])
    model.spec = replace(model.spec, level=spec_level)
    heard = []
    model.register_forward_pre_hook(lambda _, inputs: heard.append(inputs[0]))
    mixture = torch.randn(1, 16_000, generator=torch.Generator().manual_seed(0))
    mixture *= 0.3 / mixture.square().mean().sqrt()
    Separator(model, segment_seconds="whole", input_level=input_level).separate(mixture, model.spec.sample_rate)
    assert heard[0].square().mean().sqrt().item() == pytest.approx(rms, rel=1e-3)

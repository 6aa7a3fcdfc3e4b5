"""From tracks and estimates to scores: models, folders, processes, silence, long files."""

from __future__ import annotations

import math
import os
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from tests.evaluation.conftest import RATE, write
from unbraid.data.lists.bundled import find_list
from unbraid.data.lists.draw_pairs import add_noise, list_mixtures
from unbraid.data.lists.speaker_pairs import write_list
from unbraid.data.open import open_dataset
from unbraid.errors import ConfigError, DataError, MissingExtraError
from unbraid.evaluation.estimates import FolderEstimates, ModelEstimates
from unbraid.evaluation.evaluate import TrackFailed, TrackScored, choose_jobs, evaluate, score_track
from unbraid.evaluation.measures import MEASURES, default_measures, find_measures
from unbraid.evaluation.scores import TrackScore
from unbraid.evaluation.tracks import ListedTrack, TrackList, open_list, open_tracks
from unbraid.files import scratch
from unbraid.metrics.csdr import csdr, median_over_frames
from unbraid.metrics.framewise import framewise_bss_eval
from unbraid.metrics.song import usdr, usdr_per_channel
from unbraid.models.contract import ModelSpec, SeparationModel
from unbraid.separation.separator import Separator


class Halves(SeparationModel):
    """Gives half the mixture to each source; a model whose score is known."""

    def __init__(self, sources: tuple[str, ...], sample_rate: int, num_channels: int, exchangeable: bool) -> None:
        super().__init__()
        self.spec = ModelSpec(
            sample_rate=sample_rate,
            num_channels=num_channels,
            sources=sources,
            exchangeable=exchangeable,
            chunk_seconds=1.0,
        )
        self.gain = torch.nn.Parameter(torch.tensor(0.5))

    def forward(self, mixture: torch.Tensor) -> torch.Tensor:
        return (self.gain * mixture).unsqueeze(1).expand(-1, self.spec.num_sources, -1, -1)


@pytest.fixture
def speech_list(corpus_root: Path, tmp_path: Path) -> TrackList:
    path = tmp_path / "mine.csv"
    write_list(list_mixtures(open_dataset(corpus_root, "test"), 3, seed=0), path)
    return open_list(str(path), corpus_root)


def run(source, tracks: TrackList, metrics: str, **settings) -> dict[str, TrackScore]:
    events = list(evaluate(source, tracks, find_measures(metrics), **settings))
    assert all(isinstance(event, TrackScored) for event in events), events
    return {event.score.name: event.score for event in events if isinstance(event, TrackScored)}


@pytest.mark.parametrize(("sample_rate", "num_channels"), [(16_000, 1), (24_000, 1), (16_000, 2)])
@pytest.mark.parametrize("whole", [True, False])
def test_half_the_mixture_improves_nothing(speech_list: TrackList, sample_rate: int, num_channels: int, whole: bool):
    model = Halves(("a", "b"), sample_rate, num_channels, True)
    scores = run(ModelEstimates(model, device="cpu", whole=whole), speech_list, "si-sdri,si-sdr")
    assert [len(score.targets) for score in scores.values()] == [2, 2, 2]
    assert all(abs(score.value("SI-SDRi")) < 0.05 for score in scores.values())
    assert all(score.model_seconds > 0 and score.seconds in (2.2, 2.5) for score in scores.values())
    assert set(scores["0000"].labels) == {"collection", "sexes", "level", "overlap"}


def test_the_noise_of_a_list_is_in_the_mixture_alone(corpus_root: Path, tmp_path: Path):
    root = tmp_path / "corpus"
    write(root / "fx" / "hiss.wav", 0.1 * np.random.default_rng(0).standard_normal((1, 4 * RATE)))
    rows = "".join(f"hiss.wav,made,{split}\n" for split in ("train", "valid", "test"))
    (root / "fx" / "manifest.csv").write_text(f"path,set,split\n{rows}")
    (root / "speech").symlink_to(corpus_root)
    data = open_dataset(root, "test", "corpus:noisy")
    write_list(add_noise(data, list_mixtures(data, 3, seed=0), seed=0), tmp_path / "noisy.csv")
    tracks = open_list(str(tmp_path / "noisy.csv"), root)
    for track in tracks.tracks:
        assert track.labels["noise"] in ("below 5 dB", "5 to 10 dB", "from 10 dB")
        speech = track.read_references(track.sources, 0, track.num_samples).sum(axis=0)
        noise = track.read_mixture(0, track.num_samples) - speech
        below = 10 * np.log10(np.mean(speech**2) / np.mean(noise**2))
        assert isinstance(track, ListedTrack)
        assert below == pytest.approx(track.mixture.noise_below_db, abs=0.05)
        assert np.array_equal(track.read_mixture(500, 900), track.read_mixture(0, track.num_samples)[:, 500:1400])


def test_a_separator_keeps_its_settings(speech_list: TrackList):
    separator = Separator(Halves(("a", "b"), 16_000, 1, True), device="cpu", consistency="distribute")
    scores = run(ModelEstimates(separator), speech_list, "si-sdri")
    assert all(abs(score.value("SI-SDRi")) < 0.05 for score in scores.values())
    with pytest.raises(ConfigError, match="settings already"):
        ModelEstimates(separator, settings={"overlap": 0.5})
    with pytest.raises(ConfigError, match="jobs=1"):
        run(ModelEstimates(separator), speech_list, "snr", jobs=2)


def test_a_folder_is_scored_as_the_metrics_say(songs: Path, estimates: Path):
    """Every measure of a folder of stems is that of the plain functions on the whole signals."""
    tracks = open_tracks(songs)
    assert (tracks.layout, tracks.exchangeable, len(tracks.tracks)) == ("songs", False, 3)
    score = run(FolderEstimates(estimates, tracks), tracks, "uSDR,uSDR-ch,cSDR,museval,SNR,SDR,SNRi")["Song 1"]
    names = [target.source for target in score.targets]
    assert names == list(tracks.sources) == ["vocals", "drums", "other"]

    def read(root: Path) -> torch.Tensor:
        return torch.from_numpy(np.stack([soundfile.read(root / "Song 1" / f"{one}.wav")[0].T for one in names]))

    found, true = read(estimates), read(songs)
    v4 = framewise_bss_eval(found, true, window=RATE)
    expected = {
        "uSDR": usdr(found, true),
        "uSDR-ch": usdr_per_channel(found, true),
        "cSDR": csdr(found, true, RATE),
        "cSDR-joint": csdr(found, true, RATE, "joint"),
        "ISR": median_over_frames(v4.isr),
        "SIR": median_over_frames(v4.sir),
        "SAR": median_over_frames(v4.sar),
    }
    for measure, values in expected.items():
        for target, value in zip(score.targets, values.tolist(), strict=True):
            assert target.metrics[measure] == pytest.approx(
                value, abs=0.2 if measure in ("ISR", "SIR", "SAR") else 1e-4
            )
    assert all(target.metrics["SNR"] == pytest.approx(20, abs=0.2) for target in score.targets)
    assert all(target.metrics["SNRi"] == pytest.approx(23, abs=0.3) for target in score.targets)
    assert list(score.targets[0].frames) == ["SDR", "cSDR-joint SDR", "ISR", "SIR", "SAR"]
    assert len(score.targets[0].frames["SIR"]) == 4, "4.2 s are four frames"


def test_a_silent_reference_has_no_score(songs: Path, estimates: Path):
    tracks = open_tracks(songs)
    score = run(FolderEstimates(estimates, tracks), tracks, "SNR,SI-SDR,SDR,cSDR,uSDR")["Song 2"]
    vocals, *others = score.targets
    assert all(math.isnan(vocals.metrics[name]) for name in ("SNR", "SI-SDR", "SDR", "cSDR"))
    assert vocals.metrics["uSDR"] < -50, "the challenges score silence, far down"
    assert score.value("SNR") == pytest.approx(np.mean([one.metrics["SNR"] for one in others]))


def test_a_silent_channel_does_not_count(tmp_path: Path):
    sound = 0.1 * np.random.default_rng(0).standard_normal((2, RATE))
    sound[1] = 0
    error = 0.01 * np.random.default_rng(1).standard_normal((2, RATE))
    for stem in ("vocals", "drums"):
        write(tmp_path / "data" / "song" / f"{stem}.wav", sound)
        write(tmp_path / "tool" / "song" / f"{stem}.wav", sound + error)
    tracks = open_tracks(tmp_path / "data")
    metrics = run(FolderEstimates(tmp_path / "tool", tracks), tracks, "SDR,SpecSNR,LSD")["song"].targets[0].metrics
    assert metrics["SDR"] == pytest.approx(20, abs=0.5)
    assert 15 < metrics["SpecSNR"] < 30
    assert metrics["LSD"] < 1


def test_several_processes_give_the_same(songs: Path, estimates: Path):
    tracks = open_tracks(songs)
    source = FolderEstimates(estimates, tracks)
    alone, together = (run(source, tracks, "SNR,uSDR", jobs=jobs) for jobs in (1, 2))
    assert {name: one.targets[1:] for name, one in alone.items()} == {
        name: one.targets[1:] for name, one in together.items()
    }


def test_done_tracks_are_not_scored_again(songs: Path, estimates: Path):
    tracks = open_tracks(songs)
    scores = run(FolderEstimates(estimates, tracks), tracks, "SNR", done={"Song 0", "Song 2"})
    assert list(scores) == ["Song 1"]


def test_one_bad_track_does_not_stop_the_others(songs: Path, estimates: Path):
    tracks = open_tracks(songs)
    source = FolderEstimates(estimates, tracks)
    (estimates / "Song 1" / "drums.wav").write_bytes(b"no audio")
    events = list(evaluate(source, tracks, find_measures("SNR")))
    assert [type(event) for event in events] == [TrackScored, TrackFailed, TrackScored]
    assert isinstance(events[1], TrackFailed)
    assert "Song 1" in events[1].message
    assert not events[1].is_defect


def test_long_estimates_wait_on_disk(songs: Path, monkeypatch: pytest.MonkeyPatch):
    tracks = open_tracks(songs)
    model = Halves(tracks.sources, RATE, 2, False)
    source = ModelEstimates(model, device="cpu")
    measures = find_measures("SNR,cSDR,SDR,SIR,SpecSNR,LSD,loudness")
    in_memory = score_track(source, tracks.tracks[1], tracks.sources, measures, exchangeable=False)
    monkeypatch.setattr(scratch, "IN_MEMORY_BYTES", 1000)
    on_disk = score_track(source, tracks.tracks[1], tracks.sources, measures, exchangeable=False)
    assert repr(in_memory.targets) == repr(on_disk.targets)
    assert in_memory.targets[0].metrics["loudness"] > 0
    assert in_memory.targets[0].metrics["LSD"] > 0


@pytest.mark.parametrize("name", ["STOI", "ESTOI", "PESQ"])
def test_quality_of_speech(name: str, songs: Path, estimates: Path, monkeypatch: pytest.MonkeyPatch):
    measure = MEASURES[name]
    tracks = open_tracks(songs).first(1)
    source = FolderEstimates(estimates, tracks)
    if find_spec(str(measure.package)):
        assert 0.1 < run(source, tracks, name)["Song 0"].targets[1].metrics[name] < 5
    monkeypatch.setattr("unbraid.evaluation.measures.find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"unbraid\[quality\]"):
        list(evaluate(source, tracks, [measure]))


def test_blocks_of_a_track_do_not_matter(songs: Path, estimates: Path, monkeypatch: pytest.MonkeyPatch):
    tracks = open_tracks(songs)
    source = FolderEstimates(estimates, tracks)
    whole = run(source, tracks, "SNR,SI-SDR,cSDR,cSDR-joint,uSDR-ch")
    monkeypatch.setattr("unbraid.evaluation.evaluate.BLOCK_SECONDS", 1.0)
    monkeypatch.setattr("unbraid.evaluation.material.BLOCK_SECONDS", 2.0)
    parts = run(source, tracks, "SNR,SI-SDR,cSDR,cSDR-joint,uSDR-ch")
    for name in whole:
        for one, other in zip(whole[name].targets, parts[name].targets, strict=True):
            assert one.metrics == pytest.approx(other.metrics, abs=1e-9, nan_ok=True)
            assert list(one.frames) == list(other.frames)
            np.testing.assert_array_equal(list(one.frames.values()), list(other.frames.values()))


def test_the_passage_with_most_error_is_found(tmp_path: Path):
    rng = np.random.default_rng(0)
    vocals, drums = 0.1 * rng.standard_normal((2, 1, 30 * RATE))
    bad = vocals.copy()
    bad[:, 14 * RATE : 22 * RATE] += 0.1 * rng.standard_normal(8 * RATE)
    for root, first in (("songs", vocals), ("tool", bad)):
        write(tmp_path / root / "a" / "vocals.wav", first)
        write(tmp_path / root / "a" / "drums.wav", drums)
    tracks = open_tracks(tmp_path / "songs")
    score = run(FolderEstimates(tmp_path / "tool", tracks), tracks, "SNR")["a"]
    assert 12 <= score.most_error_at <= 14, "ten seconds that hold the eight bad ones"


def test_a_model_of_something_else_is_refused(speech_list: TrackList, songs: Path):
    stems = ModelEstimates(Halves(("vocals", "drums"), RATE, 2, False), device="cpu")
    with pytest.raises(ConfigError, match="mixtures of speaker1, speaker2, and this model gives vocals, drums"):
        list(evaluate(stems, speech_list, find_measures("SNR")))
    tracks = open_tracks(songs)
    assert stems.sources(tracks) == ("vocals", "drums"), "what both have is scored"
    foreign = ModelEstimates(Halves(("piano", "flute"), RATE, 2, False), device="cpu")
    with pytest.raises(ConfigError, match="nothing in common"):
        list(evaluate(foreign, tracks, find_measures("SNR")))


def test_what_is_left_of_a_song_is_scored_against_the_rest(songs: Path):
    """A model of vocals and accompaniment meets data of vocals, drums and other."""
    tracks = open_tracks(songs)
    model = ModelEstimates(Halves(("vocals", "accompaniment"), RATE, 2, False), device="cpu")
    score = run(model, tracks, "SNR")["Song 2"]
    assert [target.source for target in score.targets] == ["vocals", "accompaniment"]
    assert score.targets[1].metrics["SNR"] == pytest.approx(20 * math.log10(2), abs=0.01), "half of all there is"


@pytest.mark.parametrize(
    ("sources", "scored"),
    [(("vocals", "other"), ["vocals", "no_vocals"]), (("other", "drums", "singing"), ["other", "drums", "vocals"])],
)
def test_sources_of_models_go_by_other_names(songs: Path, sources: tuple[str, ...], scored: list[str]):
    """Of two sources the other is all the rest; of more it is what the data call so."""
    tracks = open_tracks(songs)
    score = run(ModelEstimates(Halves(sources, RATE, 2, False), device="cpu"), tracks, "SNR")["Song 1"]
    assert [target.source for target in score.targets] == scored
    assert [target.estimate for target in score.targets] == list(sources)


def test_lists(corpus_root: Path, tmp_path: Path):
    mixtures = list_mixtures(open_dataset(corpus_root, "test"), 2, seed=0)
    write_list(mixtures, tmp_path / "mine.csv")
    tracks = open_list(str(tmp_path / "mine.csv"), corpus_root).tracks
    assert [track.name for track in tracks] == ["0000", "0001"]
    first = tracks[0]
    total = first.read_references(first.sources, 100, 50).sum(0)
    np.testing.assert_allclose(first.read_mixture(100, 50), total, atol=1e-6)
    with pytest.raises(DataError, match="speech-test, speech-valid"):
        open_list("nosuch", corpus_root)
    with pytest.raises(DataError, match="name the data set that the list was made from"):
        open_list("speech-test", corpus_root)
    (tmp_path / "odd.csv").write_text("a,b\n1,2\n")
    with pytest.raises(DataError, match="not a list"):
        open_list(str(tmp_path / "odd.csv"), corpus_root)
    (tmp_path / "empty.csv").write_text(find_list("speech-test").read_text().splitlines()[0])
    with pytest.raises(DataError, match="empty"):
        open_list(str(tmp_path / "empty.csv"), corpus_root)


def test_numbered_speakers_are_exchangeable(tmp_path: Path):
    rng = np.random.default_rng(0)
    speakers = 0.1 * rng.standard_normal((2, 1, RATE))
    for number, samples in enumerate(speakers, start=1):
        write(tmp_path / "data" / "talk" / f"speaker{number}.wav", samples)
        write(tmp_path / "tool" / f"talk_s{3 - number}.wav", samples)
    write(tmp_path / "data" / "talk" / "mixture.wav", speakers.sum(0))
    tracks = open_tracks(tmp_path / "data")
    assert tracks.exchangeable
    score = run(FolderEstimates(tmp_path / "tool", tracks), tracks, "SI-SDR")["talk"]
    assert [target.estimate for target in score.targets] == ["s2", "s1"]
    assert score.value("SI-SDR") == math.inf
    assert score.labels["level"] == "below 1 dB"


def test_processes_are_started_where_they_are_worth_it(songs: Path, estimates: Path):
    tracks = open_tracks(songs)
    source = FolderEstimates(estimates, tracks)
    assert choose_jobs(0, source, tracks) == 1, "twelve seconds of audio"
    assert choose_jobs(3, source, tracks) == 3
    many = replace(tracks, tracks=tracks.tracks * 100)
    assert choose_jobs(0, source, many) == os.cpu_count()
    assert choose_jobs(0, ModelEstimates("speech"), many) == 1
    with pytest.raises(ConfigError, match="-1 jobs"):
        choose_jobs(-1, source, tracks)


def test_measures_have_names_that_people_type():
    assert [one.name for one in find_measures("sisdr, CSDR,si_sdr")] == ["SI-SDR", "cSDR"]
    assert [one.name for one in find_measures("museval")] == ["cSDR-joint", "ISR", "SIR", "SAR"]
    for text in ("nosuch", ""):
        with pytest.raises(Exception, match=r"choose from SNR, .*museval"):
            find_measures(text)
    assert default_measures(["a"], exchangeable=True)[0].name == "SI-SDRi"
    assert [one.name for one in default_measures(["dialogue", "music"], exchangeable=False)] == ["SNR", "SI-SDR"]
    assert [one.name for one in default_measures(["vocals"], exchangeable=False)] == ["uSDR", "cSDR"]
    assert all(name == measure.name for name, measure in MEASURES.items())

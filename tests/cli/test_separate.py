"""`unbraid separate` on recordings that are as they should be."""

from __future__ import annotations

import hashlib
import json
import os
import re
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from tests.cli.conftest import tree
from unbraid.signal.loudness import loudness
from unbraid.weights.store import load_model, save_model


def test_tree_and_properties_of_the_stems(separate, talk, tmp_path):
    talk("talk.wav", 0.7001, rate=22_050, channels=2, subtype="PCM_24")
    outcome = separate("talk.wav")
    assert outcome.code == 0, outcome.err
    assert outcome.out == ""
    folder = tmp_path / "separated/tiny/talk"
    assert tree(tmp_path / "separated/tiny") == {
        "talk/speaker1.wav",
        "talk/speaker2.wav",
        "talk/talk.unbraid.json",
    }
    for stem in ("speaker1", "speaker2"):
        given, made = soundfile.info("talk.wav"), soundfile.info(folder / f"{stem}.wav")
        assert (made.samplerate, made.channels, made.frames) == (given.samplerate, given.channels, given.frames)
        assert made.subtype == "PCM_24"
    assert "[1/1] talk.wav: 0.7 s in " in outcome.err
    assert outcome.err.splitlines()[-1] == "1 of 1 recordings separated; the stems are in separated/tiny"


def test_record(separate, talk, tmp_path):
    talk(rate=8_000)
    assert separate("talk.wav", "--overlap", "0.5", "--shifts", "2", "--flac").code == 0
    record = json.loads((tmp_path / "separated/tiny/talk/talk.unbraid.json").read_text())
    assert record["model"]["name"] == "tiny"
    assert len(record["model"]["sha256"]) == 64
    assert record["input"] == {
        "name": "talk.wav",
        "sample_rate": 8_000,
        "channels": 1,
        "samples": 4_000,
        "seconds": 0.5,
        "bytes": os.stat("talk.wav").st_size,
        "modified_ns": os.stat("talk.wav").st_mtime_ns,
        "sha256": hashlib.sha256(Path("talk.wav").read_bytes()).hexdigest(),
    }
    assert record["settings"]["separation"]["overlap"] == 0.5
    assert record["settings"]["separation"]["shifts"] == 2
    assert record["settings"]["output"]["container"] == "flac"
    assert record["stems"]["speaker1"]["file"] == "speaker1.flac"
    assert record["gain"] == 1.0
    assert record["uncertain_joins"] == 0
    assert record["seconds_taken"] > 0
    assert {"unbraid", "torch", "device"} <= record.keys()


def test_folders_are_mirrored_and_a_pattern_is_taken(separate, talk, tmp_path):
    talk("in/one.wav")
    talk("in/deep/two.flac")
    (tmp_path / "in/notes.txt").write_text("not audio")
    assert separate("in", "-o", "out", "-q").err == ""
    stems = {name for name in tree(tmp_path / "out/tiny") if name.endswith(".wav")}
    assert stems == {f"{track}/speaker{number}.wav" for track in ("one", "deep/two") for number in (1, 2)}
    assert separate("in/*.wav", "-o", "pattern").code == 0
    assert (tmp_path / "pattern/tiny/one/speaker1.wav").exists()


def test_recordings_of_one_name_do_not_overwrite_each_other(separate, talk, tmp_path):
    talk("a.wav", 0.3)
    talk("a.flac", 0.4)
    talk("other/a.wav", 0.5)
    assert separate("a.wav", "a.flac", "other/a.wav").code == 0
    lengths = {
        path.parent.name: soundfile.info(path).duration for path in tmp_path.glob("separated/tiny/*/speaker1.wav")
    }
    assert lengths == {"a": 0.3, "a (flac)": 0.4, "a (wav)": 0.5}


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("{track}_{stem}.{ext}", {"tiny/talk_speaker1.wav", "tiny/talk_speaker2.wav", "tiny/talk.unbraid.json"}),
        ("{file_name}/{instr}", {"tiny/talk/speaker1.wav", "tiny/talk/speaker2.wav", "tiny/talk/talk.unbraid.json"}),
        ("{model}-{stem}/{track}-{trackext}.{ext}",
         {"tiny-speaker1/talk-wav.wav", "tiny-speaker2/talk-wav.wav", "talk.unbraid.json"}),
    ],
)  # fmt: skip
def test_filename(separate, talk, tmp_path, template, expected):
    talk()
    assert separate("talk.wav", "--filename", template).code == 0
    assert tree(tmp_path / "separated") == expected


@pytest.mark.parametrize(
    ("flags", "extension", "subtype"),
    [
        ((), "wav", "PCM_16"),
        (("--float32",), "wav", "FLOAT"),
        (("--int24",), "wav", "PCM_24"),
        (("--flac",), "flac", "PCM_16"),
        (("--flac", "--int24"), "flac", "PCM_24"),
        (("--mp3", "--mp3-bitrate", "128"), "mp3", "MPEG_LAYER_III"),
        (("--ogg",), "ogg", "VORBIS"),
    ],
)
def test_encodings(separate, talk, tmp_path, flags, extension, subtype):
    talk(rate=44_100)
    assert separate("talk.wav", *flags).code == 0
    assert soundfile.info(tmp_path / f"separated/tiny/talk/speaker1.{extension}").subtype == subtype


def test_tags_are_kept(separate, talk, tmp_path):
    with soundfile.SoundFile(tmp_path / "song.flac", "w", 16_000, 1) as file:
        file.title = "A song"
        file.write(np.zeros(800))
    assert separate("song.flac", "--flac").code == 0
    with soundfile.SoundFile(tmp_path / "separated/tiny/song/speaker2.flac") as file:
        assert file.title == "A song"


def test_stems_that_are_asked_for(separate, talk, tmp_path):
    talk()
    folder = tmp_path / "separated/tiny/talk"
    assert separate("talk.wav", "--stem", "speaker2").code == 0
    assert {path.name for path in folder.glob("*.wav")} == {"speaker2.wav"}
    assert separate("talk.wav", "-o", "two", "--two-stems", "speaker1", "--other-method", "minus").code == 0
    stems = {path.name: soundfile.read(path)[0] for path in (tmp_path / "two/tiny/talk").glob("*.wav")}
    assert stems.keys() == {"speaker1.wav", "minus_speaker1.wav"}
    np.testing.assert_allclose(sum(stems.values()), soundfile.read("talk.wav")[0], atol=1e-4)


def test_residual_makes_the_stems_add_up(separate, talk, tmp_path):
    talk(channels=2)
    assert separate("talk.wav", "--consistency", "residual", "--float32").code == 0
    stems = [soundfile.read(path)[0] for path in (tmp_path / "separated/tiny/talk").glob("*.wav")]
    assert len(stems) == 3
    np.testing.assert_allclose(sum(stems), soundfile.read("talk.wav")[0], atol=1e-6)


def test_resume_skips_what_is_done_and_nothing_else(separate, talk, tmp_path):
    for name in ("a", "b", "c"):
        talk(f"{name}.wav")
    assert separate("a.wav", "b.wav").code == 0
    (tmp_path / "separated/tiny/b/speaker2.wav").unlink()
    outcome = separate("a.wav", "b.wav", "c.wav", "--resume")
    assert outcome.code == 0
    assert "a.wav: skipped, its stems are in separated/tiny/a" in outcome.err
    assert outcome.err.count("skipped, its stems") == 1
    assert "2 of 3 recordings separated (1 skipped)" in outcome.err
    assert (tmp_path / "separated/tiny/b/speaker2.wav").exists()
    assert separate("a.wav", "--resume", "--shifts", "2").err.count("skipped") == 0, "other settings"
    assert separate("a.wav", "--resume", "--shifts", "2").err.count("skipped") > 0
    later = time.time() + 10
    os.utime("a.wav", (later, later))
    assert separate("a.wav", "--resume", "--shifts", "2").err.count("skipped") > 0, "touched"
    with open("a.wav", "r+b") as file:
        file.seek(-2, os.SEEK_END)
        file.write(b"xx")
    assert separate("a.wav", "--resume", "--shifts", "2").err.count("skipped") == 0, "other samples of the same size"


def test_deterministic_files_are_the_same_bytes_whatever_threads_and_batches(separate, talk, tmp_path):
    talk("talk.wav", 1.5, channels=2)
    before, made = torch.get_num_threads(), []
    try:
        for threads, size in ((1, 1), (2, 3)):
            out = tmp_path / f"out{threads}"
            ways = ["-j", threads, "--batch-size", size, "--segment", "0.5", "--shifts", "2", "--ogg"]
            assert separate("talk.wav", "-o", out, "--deterministic", *ways).code == 0
            made.append({name: (out / name).read_bytes() for name in tree(out) if name.endswith(".ogg")})
            assert torch.get_num_threads() == 1
    finally:
        torch.set_num_threads(before)
    assert len(made[0]) == 2
    assert made[0] == made[1]
    outcome = separate("talk.wav", "-o", tmp_path / "out1", "--segment", "0.5", "--shifts", "2", "--ogg", "--resume")
    assert "1 of 1 recordings separated;" in outcome.err  # made with other settings


def test_shards_are_all_recordings_once(separate, talk, tmp_path):
    for number in range(5):
        talk(f"in/{number}.wav", 0.1)
    for part in ("1/2", "2/2"):
        assert separate("in", "-o", part[0], "--shard", part).code == 0
    first, second = ({path.name for path in (tmp_path / part / "tiny").iterdir()} for part in "12")
    assert first == {"0", "2", "4"}
    assert second == {"1", "3"}
    assert "is empty" in separate("in/0.wav", "--shard", "2/2").err


def test_json(separate, talk):
    talk()
    outcome = separate("talk.wav", "missing.wav", "--json")
    assert outcome.code == 1
    failed, done = json.loads(outcome.out)["recordings"]
    assert failed["status"] == "failed"
    assert "does not exist" in failed["message"]
    assert done["status"] == "done"
    assert done["seconds"] == 0.5
    assert all(Path(path).exists() for path in (*done["stems"].values(), done["record"]))


def test_warnings(separate, talk, tmp_path):
    soundfile.write(tmp_path / "quiet.wav", np.zeros(8_000), 16_000)
    talk("high.wav", rate=44_100)
    talk("higher.wav", rate=48_000)
    outcome = separate("quiet.wav", "high.wav", "higher.wav")
    assert outcome.code == 0
    # Recordings are in work side by side, so that either may come first, and of the rates either may be named.
    silent, rate = sorted(outcome.warnings)
    assert silent == "'quiet.wav' came out silent: is the recording itself silent?"
    assert re.fullmatch(
        "the model 'tiny' works at 16 kHz, so stems of recordings at (44.1|48) kHz hold nothing above 8 kHz", rate
    )


def test_a_speaker_who_is_hardly_heard_is_remarked_upon(separate, tiny, talk, tmp_path):
    talk("short.wav", 1.5)
    talk("long.wav", 4.0)
    model = load_model(tiny)
    with torch.no_grad():
        model.decoder.weight[:, 1] = 0
    save_model(model, tmp_path / "one.safetensors")
    outcome = separate("short.wav", "long.wav", "-n", "one.safetensors")
    assert outcome.warnings == [
        "'long.wav': hardly anybody is heard in speaker2, so there may be fewer than 2 speakers; "
        "listen to it before you throw it away"
    ]
    record = json.loads((tmp_path / "separated/one/long/long.unbraid.json").read_text())
    assert record["heard_seconds"] == [pytest.approx(4.0, abs=0.5), 0.0]
    (result,) = json.loads(separate("long.wav", "-n", "one.safetensors", "--json").out)["recordings"]
    assert result["heard_seconds"] == record["heard_seconds"]


def test_pipe(process, tiny, talk):
    path = talk(rate=8_000, channels=2)
    piped = process(
        "separate", "-n", tiny, "-", "-o", "-", "--stem", "speaker1", "--tracking", "online", input=path.read_bytes()
    )
    assert piped.returncode == 0, piped.stderr
    assert b"standard input" in piped.stderr
    target = path.with_name("piped.wav")
    target.write_bytes(piped.stdout)
    samples, rate = soundfile.read(target, always_2d=True)
    assert rate == 8_000
    assert samples.shape == (4_000, 2)
    assert soundfile.info(target).subtype == "FLOAT"


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ((), "no recording is named"),
        (("talk.wav", "-n", "nothing"), "there is no model 'nothing'"),
        (("talk.wav", "--wav", "--mp3"), "choose one of --wav, --mp3"),
        (("talk.wav", "--flac", "--float32"), "flac does not hold float32"),
        (("talk.wav", "--mp3", "--mp3-bitrate", "321"), "no bit rate of 321"),
        (("talk.wav", "--filename", "{singer}"), "unknown field {singer}"),
        (("talk.wav", "--filename", "../{track}/{stem}"), "leads out of the output folder"),
        (("talk.wav", "--filename", "{track}"), "put {stem} into it"),
        (("talk.wav", "talk2.wav", "--filename", "{stem}"), "put {track} into it"),
        (("talk.wav", "--filename", "{track"), "is not a template"),
        (("talk.wav", "--stem", "drums"), "no stem 'drums': with these settings there are: speaker1, speaker2"),
        (("talk.wav", "--two-stems", "drums"), "no stem 'drums'"),
        (("talk.wav", "--overlap", "0.96"), "from 0 to 0.95"),
        (("talk.wav", "--segment", "0.01"), "a finite number of at least 0.1"),
        (("talk.wav", "--shard", "3/2"), "shards go from 1/2 to 2/2"),
        (("talk.wav", "--shard", "one"), "--shard 1/4"),
        (("talk.wav", "-d", "abacus"), "'abacus' is not a device"),
        (("talk.wav", "-o", "-"), "takes one stem"),
        (("talk.wav", "talk2.wav", "-o", "-", "--stem", "speaker1"), "takes one recording, not 2"),
        (("talk.wav", "-o", "-", "--stem", "speaker1", "--mp3"), "WAV only"),
        (("talk.wav", "-o", "-", "--json"), "both want standard output"),
    ],
)
def test_settings_that_cannot_be(separate, talk, tmp_path, arguments, sentence):
    talk()
    talk("talk2.wav")
    outcome = separate(*arguments)
    assert outcome.code == 1
    assert len(outcome.errors) == 1
    assert sentence in outcome.errors[0]
    assert tree(tmp_path) == {"talk.wav", "talk2.wav"}


def test_a_passage_has_names_and_a_record_of_its_own(separate, talk, tmp_path):
    talk(seconds=2.0)
    assert separate("talk.wav", "--start", "0:00.5", "--duration", "1", "--json").code == 0
    folder = tmp_path / "separated/tiny/talk (0.5-1.5 s)"
    assert soundfile.info(folder / "speaker1.wav").frames == 16_000
    record = json.loads((folder / "talk (0.5-1.5 s).unbraid.json").read_text())
    assert record["input"]["start_seconds"] == 0.5
    assert record["settings"]["separation"]["duration_seconds"] == 1.0
    assert separate("talk.wav", "--preview", "0.5").code == 0
    assert (tmp_path / "separated/tiny/talk (preview 0.5 s)/speaker2.wav").is_file()
    assert separate("talk.wav", "--preview", "1", "--start", "1").errors == [
        "--preview is a passage already: leave --start and --duration out"
    ]


def test_the_loudness_of_a_remix(separate, talk, tmp_path):
    talk(seconds=2.0)
    outcome = separate("talk.wav", "--remix", "speaker1=+3", "--loudness", "-30", "--float32")
    assert outcome.code == 0, outcome.err
    folder = tmp_path / "separated/tiny/talk"
    stems = json.loads((folder / "talk.unbraid.json").read_text())["stems"]
    samples, rate = soundfile.read(folder / "remix.wav", always_2d=True)
    assert float(loudness(torch.from_numpy(samples.T.copy()), rate)) == pytest.approx(-30, abs=0.01)
    assert stems["remix"]["loudness_lufs"] == -30
    samples, rate = soundfile.read(folder / "speaker1.wav", always_2d=True)
    own = float(loudness(torch.from_numpy(samples.T.copy()), rate))
    assert stems["speaker1"]["loudness_lufs"] == pytest.approx(own, abs=0.01)
    assert "gain" not in stems["speaker1"]
    # White noise cannot be so loud below a true peak of -1 dB.
    outcome = separate("talk.wav", "--remix", "speaker1=+3", "--loudness", "-1")
    assert any(
        "softer than -1 LUFS, because its true peak stays below -1 dB" in warning for warning in outcome.warnings
    )
    record = json.loads((folder / "talk.unbraid.json").read_text())
    assert record["stems"]["remix"]["true_peak_db"] == -1.0
    assert separate("talk.wav", "--loudness", "-16").errors == [
        "--loudness is for a remix, and none is written: add --remix dialogue=+6 or the like"
    ]


def test_raw_samples(separate, tmp_path, talk):
    samples = soundfile.read(talk("talk.wav", 0.5), dtype="int16")[0]
    (tmp_path / "talk.pcm").write_bytes(samples.tobytes())
    assert separate("talk.wav", "-o", "wav").code == 0
    assert separate("talk.pcm", "-o", "raw", "--raw", "int16", "--rate", "16000").code == 0
    for stem in ("speaker1", "speaker2"):
        assert (tmp_path / f"wav/tiny/talk/{stem}.wav").read_bytes() == (
            tmp_path / f"raw/tiny/talk/{stem}.wav"
        ).read_bytes()
    assert "--raw needs the rate" in separate("talk.pcm", "--raw", "int16").errors[0]
    assert "--rate and --channels are for raw samples" in separate("talk.wav", "--rate", "8000").errors[0]

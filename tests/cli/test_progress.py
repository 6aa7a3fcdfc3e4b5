"""What programs that wrap the command line read of it."""

from __future__ import annotations

import json

import pytest


def events(text: str) -> list[dict]:
    return [json.loads(line) for line in text.splitlines()]


def test_every_line_is_an_object_and_tells_how_far_it_is(separate, talk):
    talk("a.wav", 0.7)
    (talk("b.wav")).write_bytes(b"no sound")
    talk("c.wav", 0.3)
    outcome = separate("a.wav", "b.wav", "c.wav", "--progress", "json", "--segment", "0.3")
    told = events(outcome.err)
    assert outcome.code == 1
    by_recording = {
        index: [one["event"] for one in told if one.get("index") == index and one["event"] != "progress"]
        for index in range(3)
    }
    assert by_recording == {0: ["start", "done"], 1: ["failed"], 2: ["start", "done"]}
    start = next(one for one in told if one["event"] == "start" and one["index"] == 0)
    assert start == {"event": "start", "index": 0, "input": "a.wav", "total": 3, "expected_seconds": 0.7}
    steps = [one for one in told if one["event"] == "progress" and one["index"] == 0]
    assert {one["stage"] for one in steps} == {"separate", "join"}
    for one in steps:
        assert one["percent"] == round(100 * one["done_seconds"] / one["expected_seconds"], 1)
    assert steps[-1]["percent"] == 100.0
    failed = next(one for one in told if one["event"] == "failed")
    done = next(one for one in told if one["event"] == "done" and one["index"] == 0)
    assert done["stems"] == {f"speaker{n}": f"separated/tiny/a/speaker{n}.wav" for n in (1, 2)}
    assert done["record"] == "separated/tiny/a/a.unbraid.json"
    assert (failed["index"], failed["input"]) == (1, "b.wav")
    assert "'b.wav'" in failed["message"]
    assert told[-1] == {"event": "end", "done": 2, "skipped": 0, "failed": 1}
    again = events(separate("c.wav", "--progress", "json", "--segment", "0.3", "--resume").err)
    assert [one["event"] for one in again] == ["skipped", "end"]


def test_errors_are_objects_too_and_the_next_command_speaks_text_again(separate):
    [told] = events(separate("nothing.wav", "--progress", "json", "--shard", "3").err)
    assert told["event"] == "error"
    assert told["message"].startswith("--shard 3 is not a part of a whole")
    assert separate("nothing.wav", "--shard", "3").err.startswith("error: --shard 3")


@pytest.mark.parametrize(
    ("options", "kinds"),
    [
        (["-q"], set()),
        (["--log-level", "warning"], {"warning"}),
        ([], {"warning", "[1/1] talk.wav", "1 of 1 recordings separated; the stems are in separated/tiny"}),
        (
            ["-v"],
            {"warning", "debug", "[1/1] talk.wav", "1 of 1 recordings separated; the stems are in separated/tiny"},
        ),
    ],
)
def test_levels(separate, talk, options, kinds):
    talk()
    told = separate("talk.wav", "--mp3", "--mp3-preset", "2", *options).err.splitlines()
    assert {line.split(":")[0] for line in told} == kinds


def test_details_tell_the_settings_that_run(separate, talk):
    talk("talk.wav", 0.5, rate=8_000)
    told = separate("talk.wav", "-v", "--segment", "0.3", "--overlap", "0.5").err
    assert "debug: 'tiny' on cpu, " in told
    assert "speaker1, speaker2 at 16000 Hz in chunks of 0.30 s that share 0.15 s" in told
    assert "settings: segment_seconds=0.3, overlap=0.5" in told
    assert "debug: talk.wav: 8000 Hz, 1 channels, 0.50 s" in told

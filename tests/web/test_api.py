"""The API: a recording in, its stems out, and everything in between."""

import io
import json
import zipfile
from dataclasses import fields

import numpy as np
import pytest
import soundfile

from tests.web.conftest import noise, submit, wait, wav
from unbraid.output.config import OutputConfig
from unbraid.separation.config import SeparationConfig
from unbraid.separation.separator import Separator
from unbraid.web.api import _attachment
from unbraid.web.schema import SeparationOptions


def test_a_recording_becomes_the_stems_of_the_command_line(client, choices, tmp_path):
    data = wav(noise(1.5, channels=2))
    answer = submit(client, data)
    assert answer.status_code == 201, answer.text
    found = wait(client, answer.json()["id"])
    assert found["state"] == "done", found
    assert [stem["name"] for stem in found["stems"]] == ["dialogue", "music", "effects"]
    path = tmp_path / "talk.wav"
    path.write_bytes(data)
    expected = Separator(choices.get("stems").source, device="cpu").separate(path)
    for stem in found["stems"]:
        file = client.get(stem["url"])
        named = f"attachment; filename=\"talk - {stem['name']}.wav\"; filename*=utf-8''talk%20-%20{stem['name']}.wav"
        assert file.headers["content-disposition"] == named
        heard, rate = soundfile.read(io.BytesIO(file.content))
        assert rate == 8000
        assert heard.shape == (12_000, 2)
        np.testing.assert_allclose(heard, expected[stem["name"]].samples.T, atol=1 / 32_768)


def test_downloads_have_a_name_for_curl_and_one_for_browsers():
    assert _attachment('à "b".zip') == "attachment; filename=\"_ _b_.zip\"; filename*=utf-8''%C3%A0%20%22b%22.zip"


def test_settings_mirror_those_of_the_command_line():
    ours = set(SeparationOptions.model_fields) - {"model"}
    theirs = {field.name for config in (SeparationConfig, OutputConfig) for field in fields(config)}
    assert theirs - ours == {
        "backend",
        "batch_size",
        "compile",
        "deterministic",
        "input_level",
        "raw",
        "stem_file",
        "video",
        "video_sound",
        "video_keep_sounds",
        "precision",
        "filename",
        "track",
        "loudness_lufs",
        "preview_seconds",
        "start_seconds",
        "duration_seconds",
    }  # the server's own, and the sound track of a video, which is its default one
    assert ours <= theirs
    options = SeparationOptions(model="stems")
    assert options.separation == SeparationConfig()
    assert options.output == OutputConfig(filename="{stem}.{ext}")


def test_form_fields_are_read_like_options(client):
    answer = submit(client, wav(noise()), container="flac", two_stems="music", remix="dialogue=+6,effects=off")
    found = wait(client, answer.json()["id"])
    assert [stem["name"] for stem in found["stems"]] == ["music", "no_music", "remix"]
    assert found["options"]["remix"] == {"dialogue": 6.0, "effects": None}
    assert soundfile.info(io.BytesIO(client.get(found["stems"][0]["url"]).content)).format == "FLAC"


def test_all_stems_and_the_record_as_one_zip(client):
    found = wait(client, submit(client, wav(noise()), name="../../a talk.wav").json()["id"])
    answer = client.get(f"/api/separations/{found['id']}/zip")
    archive = zipfile.ZipFile(io.BytesIO(answer.content))
    assert archive.testzip() is None
    names = ["a talk/dialogue.wav", "a talk/music.wav", "a talk/effects.wav", "a talk/separation.json"]
    assert archive.namelist() == names
    record = json.loads(archive.read("a talk/separation.json"))
    assert record["input"]["name"] == "a talk.wav"
    assert record["model"]["name"] == "stems"


def test_a_remix_is_the_sum_of_what_is_heard(client):
    found = wait(client, submit(client, wav(noise()), sample="float32").json()["id"])
    stems = {stem["name"]: soundfile.read(io.BytesIO(client.get(stem["url"]).content))[0] for stem in found["stems"]}
    gains = {"dialogue": 6.0, "music": -60.0, "effects": None}
    answer = client.post(f"/api/separations/{found['id']}/remix", json={"gains_db": gains, "sample": "float32"})
    assert answer.status_code == 200, answer.text
    heard, _ = soundfile.read(io.BytesIO(answer.content))
    np.testing.assert_allclose(heard, 10**0.3 * stems["dialogue"] + 1e-3 * stems["music"], atol=1e-6)
    nothing = client.post(f"/api/separations/{found['id']}/remix", json={"gains_db": {}})
    assert nothing.status_code == 422
    assert nothing.json()["detail"] == "every stem is off, so there is nothing to write: give one a gain"


def test_the_player_gets_the_mixture_and_the_stems(client):
    samples = noise(1.0, channels=2)
    found = wait(client, submit(client, wav(samples)).json()["id"])
    base = f"/api/separations/{found['id']}"
    tracks = client.get(f"{base}/tracks").json()
    assert tracks["names"] == ["mixture", "dialogue", "music", "effects"]
    assert (tracks["sample_rate"], tracks["num_channels"], tracks["num_samples"]) == (8000, 2, 8000)
    data = np.frombuffer(client.get(f"{base}/samples", params={"start": 100, "count": 50}).content, "<i2")
    heard = data.reshape(4, 50, 2) * tracks["full_scale"] / 32_767
    np.testing.assert_allclose(heard[0], samples[100:150], atol=1e-4)
    beyond = client.get(f"{base}/samples", params={"start": 7990, "count": 50}).content
    assert len(beyond) == 4 * 10 * 2 * 2


@pytest.mark.parametrize("view", ["waveform", "spectrogram"])
def test_tracks_can_be_drawn(client, view):
    time = np.arange(8000) / 8000
    tone = 0.5 * np.sin(2 * np.pi * 1000 * time)
    found = wait(client, submit(client, wav(tone)).json()["id"])
    address = f"/api/separations/{found['id']}/tracks/0/{view}"
    data = client.get(address, params={"start": 0, "stop": 8000, "columns": 40, "bins": 32}).content
    if view == "waveform":
        drawn = np.frombuffer(data, np.int8).reshape(40, 2)
        np.testing.assert_allclose(drawn, [[-64, 64]] * 40, atol=1)
    else:
        drawn = np.frombuffer(data, np.uint8).reshape(32, 40)
        edges = np.geomspace(40, 4000, 33)
        row = 31 - (np.searchsorted(edges, 1000) - 1)
        assert set(drawn.argmax(axis=0)) == {row}
        np.testing.assert_allclose(drawn[row, 5:-5], 255 * (1 - 6 / 90), atol=4)
    assert (
        client.get(f"/api/separations/{found['id']}/tracks/9/{view}", params={"start": 0, "stop": 9}).status_code == 404
    )


def test_two_visitors_wait_in_one_queue(client):
    first = submit(client, wav(noise(2.0)), name="one.wav").json()
    second = submit(client, wav(noise(1.0, seed=1)), name="two.wav", model="speakers").json()
    assert first["id"] != second["id"]
    assert wait(client, second["id"])["state"] == "done"
    found = client.get("/api/separations", params={"ids": [first["id"], second["id"], "none"]}).json()
    assert [one["name"] for one in found] == ["two.wav", "one.wav"]
    assert wait(client, first["id"])["state"] == "done"


def test_events_tell_of_progress_until_the_end(client):
    id = submit(client, wav(noise(1.0))).json()["id"]
    with client.stream("GET", "/api/events", params={"ids": [id]}) as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        lines = list(answer.iter_lines())
    told = [json.loads(line.removeprefix("data: ")) for line in lines if line.startswith("data: [")]
    assert told[-1][0]["state"] == "done"
    assert lines[-3] == "event: end"


def test_removed_is_removed(client, tmp_path):
    found = wait(client, submit(client, wav(noise())).json()["id"])
    assert (tmp_path / "serve" / "recordings" / found["id"]).is_dir()
    assert client.delete(f"/api/separations/{found['id']}").status_code == 204
    assert not (tmp_path / "serve" / "recordings" / found["id"]).exists()
    gone = client.get(found["stems"][0]["url"])
    assert gone.status_code == 404
    assert gone.json()["detail"] == "there is no such recording, or its results have been removed"


def test_what_the_model_does_not_know_is_said(client):
    found = wait(client, submit(client, wav(noise(1.0, rate=16_000), 16_000)).json()["id"])
    assert found["remarks"][0] == (
        "The model 'stems' works at 8 kHz, so stems of recordings at 16 kHz hold nothing above 4 kHz."
    )


def test_health_metrics_and_description(client):
    wait(client, submit(client, wav(noise())).json()["id"])
    assert client.get("/health").json()["status"] == "ok"
    text = client.get("/metrics").text
    assert "unbraid_done_total 1\n" in text
    assert 'unbraid_recordings{state="done"} 1\n' in text
    description = client.get("/api/openapi.json").json()
    form = description["paths"]["/api/separations"]["post"]["requestBody"]["content"]["multipart/form-data"]["schema"]
    assert {"file", "model", "two_stems", "container"} <= set(form["properties"])


def test_again_with_another_model_and_a_stem_further(client, choices):
    first = wait(client, submit(client, wav(noise(1.0))).json()["id"])
    other = client.post(f"/api/separations/{first['id']}/again", json={"options": {"model": "speakers"}})
    assert other.status_code == 201, other.text
    further = {"stem": "music", "options": {"model": "stems", "stems": ["dialogue"]}}
    stem = client.post(f"/api/separations/{first['id']}/again", json=further)
    assert stem.json()["name"] == "talk - music.wav"
    # What was made of a recording does not need it any more, nor the other way round.
    client.delete(f"/api/separations/{first['id']}")
    assert [one["name"] for one in wait(client, other.json()["id"])["stems"]] == ["speaker1", "speaker2"]
    assert [one["name"] for one in wait(client, stem.json()["id"], "done")["stems"]] == ["dialogue"]


def test_again_refuses_what_is_not_there(client):
    first = wait(client, submit(client, wav(noise(1.0))).json()["id"])
    address = f"/api/separations/{first['id']}/again"
    assert client.post(address, json={"stem": "vocals", "options": {"model": "stems"}}).status_code == 404
    assert client.post(address, json={"options": {"model": "/etc/passwd"}}).status_code == 422
    folder = client.app.state.queue.config.folder / "recordings"
    assert [path.name for path in folder.iterdir()] == [first["id"]]


def test_several_models_as_one(client, choices):
    data = wav(noise(1.0))
    found = wait(client, submit(client, data, model="stems | speakers on dialogue").json()["id"])
    assert found["state"] == "done", found["message"]
    assert [one["name"] for one in found["stems"]] == list(choices.get("stems | speakers on dialogue").sources)
    assert submit(client, data, model="stems+htdemucs").status_code == 422
    assert submit(client, data, model="stems+auto").status_code == 422
    assert submit(client, data, model="'/etc/passwd'+stems").status_code == 422


def test_half_a_character_in_json_is_refused_in_a_sentence(client, open_client):
    id = submit(client, wav(noise(0.1))).json()["id"]
    wait(client, id)
    for path, body in (
        (f"{id}/again", '{"options": {"model": "stem\\ud800s"}}'),
        (f"{id}/remix", '{"gains_db": {"a\\ud800": 1}}'),
    ):
        answer = client.post(f"/api/separations/{path}", content=body, headers={"content-type": "application/json"})
        assert answer.status_code in (404, 422), answer.text
        assert "ud800" in answer.json()["detail"]
    guarded = open_client(token="long enough")
    answer = guarded.post("/api/login", content='{"token": "\\ud800"}', headers={"content-type": "application/json"})
    assert answer.status_code == 401

"""Downloads from the page: asked for, followed, used, cancelled and refused, from a stand-in of the hub."""

import json
import threading
import time

import pytest

from tests.conftest import PATIENCE_SECONDS
from tests.web.conftest import BASE, noise, submit, wait, wav
from unbraid.web.config import ServeConfig
from unbraid.weights.published import registry

NAME = "sepformer-wsj0-2mix"


def settled(client, name=NAME):
    """A model once nothing of it is under way."""
    end = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < end:
        found = client.get(f"/api/models/{name}").json()
        if found["state"] != "downloading":
            return found
        time.sleep(0.02)
    raise AssertionError(found)


def ask(client, name=NAME, **given):
    return client.post(f"/api/models/{name}/download", json=given)


def test_what_can_be_downloaded_is_listed_with_size_and_licence(hub, client):
    found = {model["name"]: model for model in client.get("/api/models").json()}
    assert [found[name]["state"] for name in ("stems", NAME)] == ["bundled", "can be downloaded"]
    assert (found["htdemucs"]["size_mb"], found["htdemucs"]["licence"]) == (168, "MIT")
    assert found["bs-roformer"]["licence"] is None
    assert hub.requests == []


def test_a_model_is_downloaded_when_asked_for_and_separates(hub, client):
    refused = submit(client, wav(noise()), model=NAME)
    assert refused.status_code == 422
    assert refused.json()["detail"].startswith(f"the model '{NAME}' is not on this machine: download it first")
    assert hub.requests == []
    answer = ask(client)
    assert answer.status_code == 202, answer.text
    with client.stream("GET", "/api/models/events", params={"names": [NAME]}) as stream:
        lines = list(stream.iter_lines())
    told = [json.loads(line.removeprefix("data: "))[0] for line in lines if line.startswith("data: [")]
    assert lines[-3] == "event: end"
    assert told[-1]["message"] is None
    assert told[-1]["state"] == "downloaded"
    done = wait(client, submit(client, wav(noise()), model=NAME).json()["id"])
    assert [stem["name"] for stem in done["stems"]] == ["speaker1", "speaker2"]
    hub.requests.clear()
    assert ask(client).json()["state"] == "downloaded"
    assert hub.requests == []


def test_progress_counts_the_bytes_of_all_files(hub, monkeypatch, tmp_path):
    from unbraid.weights.published.models import download
    from unbraid.weights.published.progress import watch_downloads

    told = []
    with watch_downloads(lambda *values: told.append(values)):
        download(NAME)
    total = sum(map(len, hub.repositories["speechbrain/sepformer-wsj02mix"].values()))
    assert told[-1] == (total, total)
    assert told == sorted(told)


def test_in_a_process_of_its_own_as_well(hub, open_client):
    client = open_client(workers="process")
    hub.status = 401
    assert ask(client).status_code == 202
    found = settled(client)
    assert "no repository speechbrain/sepformer-wsj02mix that you may read" in found["message"]
    hub.status = None
    assert ask(client).json()["state"] == "downloading"
    assert settled(client)["state"] == "downloaded"


def test_without_a_network_the_sentence_says_so(hub, client, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    ask(client)
    assert "the network is not to be used" in settled(client)["message"]


def test_a_missing_package_is_named_with_its_command_before_anything_is_fetched(hub, client, monkeypatch):
    monkeypatch.setattr(registry, "find_spec", lambda module: None if module == "demucs" else object())
    sentence = "the model 'htdemucs' needs the package 'demucs': install it with  pip install 'unbraid[zoo]'"
    assert client.get("/api/models/htdemucs").json()["missing"] == sentence
    answer = ask(client, "htdemucs")
    assert (answer.status_code, answer.json()["detail"]) == (422, sentence)
    assert hub.requests == []


def test_weights_without_a_licence_are_agreed_to_first(hub, client):
    answer = ask(client, "resunet-vocals")
    assert answer.status_code == 422
    assert "state no licence" in answer.json()["detail"]


@pytest.mark.parametrize("name", ["hf:owner", "nonsense", "..%2F..%2Fetc"])
def test_no_other_name_is_fetched(hub, client, name):
    assert ask(client, name).status_code in (404, 422)
    assert hub.requests == []


def test_a_download_can_be_cancelled(hub, client, monkeypatch):
    at_work, go_on = threading.Event(), threading.Event()

    def slow(found, tell):
        tell(1, 10)
        at_work.set()
        go_on.wait(PATIENCE_SECONDS)
        tell(2, 10)

    monkeypatch.setattr("unbraid.web.offers.downloads.fetch_here", slow)
    ask(client)
    at_work.wait(PATIENCE_SECONDS)
    found = client.get(f"/api/models/{NAME}").json()
    assert (found["state"], found["progress"]) == ("downloading", 0.1)
    assert client.delete(f"/api/models/{NAME}/download").status_code == 204
    go_on.set()
    assert settled(client)["state"] == "can be downloaded"


def test_others_in_the_network_download_nothing_unless_that_is_allowed(hub, open_client):
    assert ServeConfig().may_download
    assert not ServeConfig(host="0.0.0.0", token="a long secret").may_download
    client = open_client(downloads=False)
    answer = ask(client)
    assert answer.status_code == 403
    assert "downloads no models" in answer.json()["detail"]
    assert all(model["state"] != "can be downloaded" for model in client.get(f"{BASE}/api/models").json())

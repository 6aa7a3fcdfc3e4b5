"""What is refused, in words, and what survives."""

import asyncio
import time

import pytest

from tests.conftest import PATIENCE_SECONDS
from tests.web.conftest import noise, submit, wait, wav
from unbraid.errors import ConfigError
from unbraid.output.export import export
from unbraid.web import store
from unbraid.web.app import build_app
from unbraid.web.config import ServeConfig
from unbraid.web.offers.choices import ModelChoices
from unbraid.web.store import SeparationStore
from unbraid.web.uploads import plain_name


class Slow:
    """Waits between two steps, so that there is time to cancel."""

    def __init__(self, *args, **settings):
        self.events = export(*args, **settings)

    def __iter__(self):
        for event in self.events:
            time.sleep(0.05)
            yield event

    def close(self):
        self.events.close()


def uploads(tmp_path):
    """What lies in the folder of recordings."""
    return list((tmp_path / "serve" / "recordings").glob("*"))


@pytest.mark.parametrize(
    ("data", "fields", "status", "sentence"),
    [
        (b"", {}, 422, "'talk.wav' is empty (0 bytes): check that it was recorded completely"),
        (b"no recording at all " * 100, {}, 422, "'talk.wav' holds text, not audio"),
        (wav(noise())[:4000], {}, 422, "'talk.wav' is truncated"),
        (wav(noise()), {"model": "none"}, 422, "there is no model 'none' here; there are: stems, speakers"),
        (wav(noise()), {"model": "../../etc/passwd"}, 422, "there is no model '../../etc/passwd' here"),
        (wav(noise()), {"two_stems": "drums"}, 422, "the model has no stem 'drums'; it has: dialogue, music, effects"),
        (wav(noise()), {"container": "exe"}, 422, "`container`: 'exe' is not 'wav', 'flac', 'mp3' or 'ogg'"),
        (wav(noise()), {"filename": "../{stem}"}, 422, "`filename`: there is no such setting"),
        (wav(noise()), {"container": "mp3", "bitrate_kbps": "7"}, 422, "MP3 has no bit rate of 7 kbit/s"),
        (wav(noise()), {"two_stems": "x" * 5000}, 413, "a field of the form is too long"),
    ],
)
def test_what_cannot_be_separated_is_refused_at_once(client, tmp_path, data, fields, status, sentence):
    answer = submit(client, data, **fields)
    assert answer.status_code == status, answer.text
    assert answer.json()["detail"].startswith(sentence)
    assert uploads(tmp_path) == []
    assert str(tmp_path) not in answer.text


def test_forms_without_a_recording_are_refused(client):
    assert client.post("/api/separations", data={"model": "stems"}).status_code == 415
    answer = client.post("/api/separations", files={"other": ("a.wav", b"")}, data={"model": "stems"})
    assert answer.json()["detail"] == "there is no recording in the form: send it as the field `file`"
    cut = client.post(
        "/api/separations",
        content=b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\n\r\nhalf',
        headers={"content-type": "multipart/form-data; boundary=x"},
    )
    assert (cut.status_code, cut.json()["detail"]) == (400, "the upload ended half-way: send it again")


def test_limits_of_size_and_duration(open_client, tmp_path):
    client = open_client(max_upload_bytes=30_000, max_seconds=1.2)
    large = submit(client, wav(noise(3.0)))
    assert (large.status_code, large.json()["detail"]) == (
        413,
        "the recording is larger than 0 MB, which is the most that this server takes",
    )
    long = submit(client, wav(noise(1.5)))
    assert (long.status_code, long.json()["detail"]) == (
        413,
        "'talk.wav' lasts longer than 0.02 minutes: cut it into shorter pieces",
    )
    assert uploads(tmp_path) == []
    assert submit(client, wav(noise(1.0))).status_code == 201


def test_a_full_queue_takes_no_more(open_client, monkeypatch):
    monkeypatch.setattr("unbraid.web.queue.SeparationQueue._work", lambda *_: None)
    client = open_client(max_queued=2)
    waiting = [submit(client, wav(noise())).json() for _ in range(2)]
    assert [one["position"] for one in waiting] == [1, 2]
    refused = submit(client, wav(noise()))
    assert refused.status_code == 429
    assert refused.json()["detail"] == "2 recordings wait already: try again later"
    assert client.post(f"/api/separations/{waiting[0]['id']}/cancel").json()["state"] == "cancelled"
    assert client.get(f"/api/separations/{waiting[1]['id']}").json()["position"] == 1
    assert submit(client, wav(noise())).status_code == 201


def test_a_running_separation_can_be_cancelled(open_client, tmp_path, monkeypatch):
    monkeypatch.setattr("unbraid.web.worker.export", Slow)
    client = open_client()
    id = submit(client, wav(noise(30.0)), segment_seconds="0.5").json()["id"]
    wait(client, id, "running")
    assert client.post(f"/api/separations/{id}/cancel").json()["state"] == "cancelled"
    end = time.monotonic() + PATIENCE_SECONDS
    while uploads(tmp_path) and time.monotonic() < end:
        time.sleep(0.02)
    assert uploads(tmp_path) == []
    assert client.get(f"/api/separations/{id}/zip").status_code == 409
    after = submit(client, wav(noise(0.5))).json()["id"]
    assert wait(client, after)["state"] == "done"


def test_a_restart_goes_on_where_the_last_server_stopped(open_client, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr("unbraid.web.queue.SeparationQueue._work", lambda *_: None)
        client = open_client()
        ids = [submit(client, wav(noise()), name=f"{number}.wav").json()["id"] for number in range(3)]
        # As a server leaves it that is killed while it separates: once, and for the second time.
        store = client.app.state.queue.store
        store.take()
        for _ in range(2):
            store.take()
            store._connection.execute("UPDATE separations SET state = 'queued' WHERE id = ?", (ids[1],))
        store._connection.execute("UPDATE separations SET state = 'running' WHERE id = ?", (ids[1],))
        (tmp_path / "serve" / "recordings" / "cut-off-upload").mkdir()
    again = open_client()
    assert wait(again, ids[0])["state"] == "done"
    assert wait(again, ids[2])["state"] == "done"
    assert wait(again, ids[1])["message"] == "the server stopped 2 times while it separated this recording"
    assert {path.name for path in uploads(tmp_path)} == {ids[0], ids[2]}


def test_a_server_that_is_stopped_leaves_its_work_to_the_next(open_client, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr("unbraid.web.worker.export", Slow)
        client = open_client()
        id = submit(client, wav(noise(20.0)), segment_seconds="0.5").json()["id"]
        wait(client, id, "running")
        client.app.state.queue.stop()
    again = open_client()
    assert wait(again, id)["state"] == "done"
    assert again.app.state.queue.store.get(id).attempts == 1


def test_results_expire_by_time_and_by_space(client, tmp_path):
    queue = client.app.state.queue
    ids = [wait(client, submit(client, wav(noise())).json()["id"])["id"] for _ in range(3)]
    queue.store._connection.execute("UPDATE separations SET ended = 1 WHERE id = ?", (ids[2],))
    queue.sweep()
    assert client.get(f"/api/separations/{ids[2]}").status_code == 404
    object.__setattr__(queue.config, "keep_bytes", queue.store.total_bytes() - 1)
    queue.sweep()
    assert [path.name for path in uploads(tmp_path)] == [ids[1]]


def test_a_clock_that_is_set_ages_no_results(client, monkeypatch):
    queue = client.app.state.queue
    id = wait(client, submit(client, wav(noise())).json()["id"])["id"]
    ended, now, up = queue.store.get(id).ended, time.time, store._uptime
    for years in (30, -20):  # from 1970 to today, and a clock that was ahead
        with monkeypatch.context() as patch:
            patch.setattr(time, "time", lambda years=years: now() + years * 31_536_000)
            queue.sweep()
            assert queue.store.get(id).ended == pytest.approx(ended + years * 31_536_000, abs=5)
            assert client.get(f"/api/separations/{id}").status_code == 200
    queue.sweep()
    assert queue.store.get(id).ended == pytest.approx(ended, abs=5)
    # Days that have really passed count.
    days = 86_400 * 30
    monkeypatch.setattr(time, "time", lambda: now() + days)
    monkeypatch.setattr(store, "_uptime", lambda: up() + days)
    queue.sweep()
    assert client.get(f"/api/separations/{id}").status_code == 404


def test_a_failure_has_words_and_leaves_nothing(client, tmp_path, monkeypatch):
    def broken(*_, **__):
        raise ZeroDivisionError("of ours")

    monkeypatch.setattr("unbraid.web.worker.export", broken)
    found = wait(client, submit(client, wav(noise())).json()["id"])
    assert found["state"] == "failed"
    assert found["message"] == (
        "'talk.wav' could not be separated because of a defect of unbraid (ZeroDivisionError: of ours)"
    )
    assert uploads(tmp_path) == []


@pytest.mark.parametrize("path", ["/static/../config.py", "/static/%2e%2e/config.py", "/..%2f..%2fetc/passwd"])
def test_paths_lead_nowhere_else(client, path):
    assert client.get(path).status_code == 404


@pytest.mark.parametrize("stem", ["..%2f..%2frecording", "%2e%2e", "separation.json", "nothing"])
def test_stems_are_names_and_not_paths(client, stem):
    id = wait(client, submit(client, wav(noise(0.3))).json()["id"])["id"]
    assert client.get(f"/api/separations/{id}/stems/{stem}").status_code == 404


def test_names_of_recordings_are_text_only():
    assert plain_name("../../etc/passwd") == "passwd"
    assert plain_name("C:\\music\\song.mp3") == "song.mp3"
    assert plain_name("a\x1b[2Jb\nc") == "a\\x1b[2Jb\\nc"
    assert plain_name("/") == "recording"
    assert len(plain_name("x" * 9999)) == 200


def test_answers_carry_what_keeps_a_browser_safe(client):
    for path in ("/", "/static/app.js", "/api/server", "/nothing"):
        headers = client.get(path).headers
        assert "default-src 'none'" in headers["content-security-policy"]
        assert "unsafe" not in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "no-referrer"
        assert headers["x-frame-options"] == "DENY"
        assert "access-control-allow-origin" not in headers


def test_other_sites_reach_nothing(client):
    foreign = {"origin": "https://evil.example"}
    assert client.post("/api/separations", headers=foreign).status_code == 403
    assert client.post("/api/separations", headers={"sec-fetch-site": "cross-site"}).status_code == 403
    assert client.get("/api/server", headers={"host": "evil.example"}).status_code == 403
    assert client.get("/api/server", headers={"host": "localhost:8765"}).status_code == 200


def test_a_token_is_asked_of_everybody(open_client):
    client = open_client(host="0.0.0.0", token="a long secret")
    assert client.get("/").status_code == 200
    assert client.get("/health").status_code == 200
    for path in ("/api/server", "/metrics", "/api/openapi.json"):
        assert client.get(path).status_code == 401
    assert client.get("/api/server", headers={"authorization": "Bearer wrong"}).status_code == 401
    assert client.get("/api/server", headers={"authorization": "Bearer a long secret"}).status_code == 200
    assert client.post("/api/login", json={"token": "wrong"}).status_code == 401
    login = client.post("/api/login", json={"token": "a long secret"})
    assert "httponly" in login.headers["set-cookie"].lower()
    assert "samesite=strict" in login.headers["set-cookie"].lower()
    assert client.get("/api/server").status_code == 200


@pytest.mark.parametrize(
    "settings",
    [{"host": "0.0.0.0"}, {"host": "0.0.0.0", "token": "short"}, {"port": 70_000}, {"devices": ()}, {"max_queued": 0}],
)
def test_unsafe_settings_are_refused(settings):
    with pytest.raises(ConfigError):
        ServeConfig(**settings)


def test_the_store_keeps_the_order_and_ends_once(tmp_path):
    store = SeparationStore(tmp_path / "queue.sqlite")
    for id in "abc":
        assert store.add(id, id, {}, seconds=1.0, size=10, most_queued=3)
    assert store.add("d", "d", {}, seconds=1.0, size=10, most_queued=3) is None
    assert store.take().id == "a"
    store.put_back("a", counts=False)
    assert [one.id for one in store.waiting()] == ["a", "b", "c"]
    assert store.get("a").attempts == 0
    assert store.end("b", "cancelled")
    assert not store.end("b", "done")
    assert store.total_bytes() == 30
    store.close()


def test_an_address_with_bytes_that_are_no_ascii_is_refused_in_a_sentence(tmp_path):
    """By the application itself: on the way to the address without a slash at its end, FastAPI reads them as text."""
    answers = []

    async def receive():
        return {"type": "http.request"}

    async def send(message):
        answers.append(message)

    place = {"scheme": "http", "server": ("localhost", 80), "root_path": "", "path": "/api/separations/"}
    request = {"type": "http", "method": "GET", "query_string": b"\xe9", "headers": [(b"host", b"localhost")], **place}
    asyncio.run(build_app(ServeConfig(folder=tmp_path), ModelChoices([]))(request, receive, send))
    assert answers[0]["status"] == 400
    assert b"ASCII" in answers[1]["body"]

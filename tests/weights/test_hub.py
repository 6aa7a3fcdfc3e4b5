import errno
import hashlib
import json
import os
import socket
import subprocess
import sys
from importlib.metadata import version

import pytest

from tests.weights.hub_server import COMMIT, Hub
from unbraid.errors import ConfigError, DownloadError, UnbraidError, WeightsError
from unbraid.weights.published import hub as hub_module
from unbraid.weights.published.hub import fetch_from_hub
from unbraid.weights.published.lock import lock_path, read_lock
from unbraid.weights.references import HubReference, WebReference, parse_reference

pytest.importorskip("huggingface_hub", reason="needs the extra hub")

BIG, SMALL = bytes(range(256)) * 2000, b"kind: test\n"
NAME = HubReference(repository="owner/name")


@pytest.fixture
def hub(monkeypatch, tmp_path):
    server = Hub()
    server.repositories["owner/name"] = {"model.bin": BIG, "folder/settings.yaml": SMALL}
    monkeypatch.setenv("HF_ENDPOINT", server.address)
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setenv("UNBRAID_CACHE", str(tmp_path / "unbraid"))
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    yield server
    server.close()


def everything(paths):
    return sorted(paths)


def kept(folder):
    """Files below a folder that somebody might take for weights."""
    return [path for path in folder.rglob("*") if path.is_file() and path.stat().st_size > 1000]


def test_a_fresh_download_is_whole_and_locked(hub):
    snapshot = fetch_from_hub(NAME, everything)
    assert (snapshot.root / "model.bin").read_bytes() == BIG
    assert (snapshot.root / "folder/settings.yaml").read_bytes() == SMALL
    locked = read_lock()["owner/name"]
    assert locked.commit == COMMIT
    assert locked.files["model.bin"].sha256 == hashlib.sha256(BIG).hexdigest()


def test_what_is_locked_and_there_needs_no_network(hub, monkeypatch):
    fetch_from_hub(NAME, everything)
    hub.requests.clear()
    assert fetch_from_hub(NAME, everything).commit == COMMIT
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert fetch_from_hub(NAME, everything).commit == COMMIT
    assert hub.requests == []


def test_without_network_and_cache_one_sentence_says_so(hub, monkeypatch):
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(DownloadError, match="cannot be reached"):
        fetch_from_hub(NAME, everything)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(DownloadError, match="not on this machine"):
        fetch_from_hub(NAME, everything)


@pytest.mark.parametrize("error", [socket.gaierror(-2, "Name or service not known"), OSError(113, "No route to host")])
def test_a_name_that_is_not_resolved_is_a_matter_of_the_network(hub, monkeypatch, error):
    def refuse(*arguments, **options):
        raise error

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setenv("HF_ENDPOINT", "http://hub.invalid")
    with pytest.raises(DownloadError, match=r"cannot be reached to download.*unbraid models list"):
        fetch_from_hub(NAME, everything)


def test_a_full_disk_is_named(hub, monkeypatch):
    def refuse(*arguments, **options):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("huggingface_hub.hf_hub_download", refuse)
    with pytest.raises(DownloadError, match="cannot be stored: the disk is full"):
        fetch_from_hub(NAME, everything)


@pytest.mark.skipif(
    version("huggingface_hub").startswith("1."), reason="huggingface-hub 1 ends there, and the next run goes on"
)
def test_a_cut_download_goes_on_where_it_was(hub, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.DOWNLOAD_CHUNK_SIZE", 10_000)
    hub.cut_after = 100_000
    snapshot = fetch_from_hub(NAME, everything)
    assert (snapshot.root / "model.bin").read_bytes() == BIG
    assert hub.ranges
    assert hub.ranges[0] > 0


def test_a_truncated_file_is_not_kept(hub, tmp_path):
    hub.truncate = 1000
    with pytest.raises(UnbraidError, match=r"incomplete|damaged|reached"):
        fetch_from_hub(NAME, everything)
    assert not kept(tmp_path / "hub")
    hub.truncate = 0
    assert (fetch_from_hub(NAME, everything).root / "model.bin").read_bytes() == BIG


def test_a_tampered_file_is_not_kept(hub, tmp_path):
    hub.tampered["model.bin"] = BIG[::-1]
    with pytest.raises(WeightsError, match="damaged"):
        fetch_from_hub(NAME, everything)
    assert not kept(tmp_path / "hub")


def test_a_file_that_was_replaced_since_the_first_use_is_refused(hub, tmp_path):
    snapshot = fetch_from_hub(NAME, everything)
    (snapshot.root / "model.bin").resolve().unlink()
    (snapshot.root / "model.bin").unlink()
    hub.repositories["owner/name"]["model.bin"] = BIG[::-1]
    with pytest.raises(WeightsError, match=r"pinned.*models\.lock\.json"):
        fetch_from_hub(NAME, everything)


def test_a_pinned_hash_is_checked(hub):
    with pytest.raises(WeightsError, match="pinned"):
        fetch_from_hub(NAME, everything, {"model.bin": "0" * 64})


def test_a_file_that_is_listed_but_missing_is_named(hub):
    hub.missing.add("model.bin")
    with pytest.raises(DownloadError, match=r"model\.bin of hf:owner/name is not there"):
        fetch_from_hub(NAME, everything)


@pytest.mark.parametrize(("status", "sentence"), [(401, "log in"), (429, "too many requests"), (503, "503")])
def test_refusals_are_one_sentence_each(hub, status, sentence):
    hub.status = status
    with pytest.raises(DownloadError, match=sentence) as caught:
        fetch_from_hub(NAME, everything)
    assert "\n" not in str(caught.value)


def test_a_repository_that_is_not_there_is_named(hub):
    with pytest.raises(DownloadError, match="no repository owner/other"):
        fetch_from_hub(HubReference(repository="owner/other"), everything)


def test_two_processes_at_once_both_get_it(hub):
    program = (
        "from unbraid.weights.published.hub import fetch_from_hub; from unbraid.weights.references import HubReference;"
        "s = fetch_from_hub(HubReference(repository='owner/name'), sorted);"
        "print(len((s.root / 'model.bin').read_bytes()))"
    )
    runs = [subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, env=os.environ) for _ in range(2)]
    assert [int(run.communicate()[0]) for run in runs] == [len(BIG)] * 2
    assert len(read_lock()["owner/name"].files) == 2


def test_without_the_library_the_command_that_installs_it_is_named(hub, monkeypatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(UnbraidError, match=r"unbraid\[hub\]"):
        fetch_from_hub(NAME, everything)


def test_a_damaged_lock_file_is_named(hub):
    lock_path().parent.mkdir(parents=True)
    lock_path().write_text("{")
    with pytest.raises(WeightsError, match=r"models\.lock\.json is damaged"):
        fetch_from_hub(NAME, everything)


@pytest.mark.parametrize("commit", ["../../elsewhere", "main", 7])
def test_a_lock_file_leads_nowhere_else(hub, commit):
    lock_path().parent.mkdir(parents=True)
    lock_path().write_text(json.dumps({"sources": {"owner/name": {"commit": commit, "files": {}}}}))
    with pytest.raises(WeightsError, match=r"models\.lock\.json is damaged"):
        fetch_from_hub(NAME, everything)


@pytest.mark.parametrize(
    "path", ["../outside", "a/../../outside", "/outside", "a//b", "..\\outside", "C:\\outside", "a/\x1b[1mb"]
)
def test_a_list_of_files_that_lead_out_of_the_repository_is_refused(hub, tmp_path, path):
    hub.repositories["owner/name"][path] = SMALL
    with pytest.raises(DownloadError, match="is no repository"):
        fetch_from_hub(NAME, everything)
    assert hub.downloads() == []


@pytest.mark.parametrize("answer", [b"[]", b'{"id": 3}', b"<html>", b'{"id": "a/b", "siblings": [1]}', b"null"])
def test_an_answer_that_is_no_list_is_one_sentence(hub, answer):
    hub.answer = answer
    with pytest.raises(DownloadError) as caught:
        fetch_from_hub(NAME, everything)
    assert "\n" not in str(caught.value)


def test_removing_frees_the_space(hub, tmp_path):
    snapshot = fetch_from_hub(NAME, everything)
    assert hub_module.remove_from_cache(NAME, snapshot.files) == len(BIG) + len(SMALL)
    assert not kept(tmp_path / "hub")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("hf:owner/name", HubReference(repository="owner/name")),
        ("hf:a/b@v1:c/d", HubReference(repository="a/b", revision="v1", path="c/d")),
        ("https://x.org/m.pth", WebReference(url="https://x.org/m.pth")),
        (f"https://x.org/m#sha256={'0' * 64}", WebReference(url="https://x.org/m", sha256="0" * 64)),
    ],
)
def test_references_are_read_and_written(text, expected):
    assert parse_reference(text) == expected
    assert str(expected) == text


@pytest.mark.parametrize("text", ["hf:name", "hf:a/b:../c", "http://x.org/m", "https://x.org/m#sha256=12", "hf:"])
def test_what_is_no_reference_is_refused(text):
    with pytest.raises(ConfigError):
        parse_reference(text)

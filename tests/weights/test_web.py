import hashlib
import urllib.request

import pytest

from tests.weights.hub_server import Hub
from unbraid.errors import DownloadError, WeightsError
from unbraid.weights.published import web
from unbraid.weights.published.web import cached_file, fetch_file
from unbraid.weights.references import WebReference

CONTENT = bytes(range(256)) * 2000


@pytest.fixture
def hub(monkeypatch, tmp_path):
    server = Hub()
    server.repositories["owner/name"] = {"model.bin": CONTENT}
    monkeypatch.setenv("UNBRAID_CACHE", str(tmp_path / "unbraid"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "")
    yield server
    server.close()


def reference(hub, sha256=None):
    return WebReference(url=f"{hub.address}/owner/name/resolve/main/model.bin", sha256=sha256)


def test_it_is_fetched_once(hub, monkeypatch):
    pinned = reference(hub, hashlib.sha256(CONTENT).hexdigest())
    assert fetch_file(pinned).read_bytes() == CONTENT
    hub.requests.clear()
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert fetch_file(pinned) == cached_file(pinned)
    assert hub.requests == []


def test_a_cut_download_goes_on_where_it_was(hub):
    hub.cut_after = 100_000
    assert fetch_file(reference(hub)).read_bytes() == CONTENT
    assert hub.ranges == [100_000]


def test_a_server_that_goes_on_from_elsewhere_is_asked_for_the_whole_file(hub):
    hub.cut_after, hub.shifted = 100_000, 7
    assert fetch_file(reference(hub)).read_bytes() == CONTENT
    assert hub.ranges == [100_000]


@pytest.mark.parametrize("address", ["http://example.org/model.bin", "ftp://example.org/model.bin"])
def test_what_is_asked_for_over_https_comes_over_nothing_else(address):
    request = urllib.request.Request("https://example.org/model.bin")
    with pytest.raises(ValueError, match="which is not https"):
        web._Redirects().redirect_request(request, None, 302, "Found", {}, address)
    assert web._Redirects().redirect_request(request, None, 302, "Found", {}, "https://example.com/x") is not None


@pytest.mark.parametrize(
    "address", ["http://[half/model.bin", "http://localhost:port/x", "file:///etc/passwd", "http://"]
)
def test_a_redirect_to_nowhere_is_one_sentence(hub, address):
    hub.redirect = address
    with pytest.raises(DownloadError) as caught:
        fetch_file(reference(hub))
    assert str(hub.address) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_wrong_hash_is_refused_and_nothing_kept(hub, tmp_path):
    with pytest.raises(WeightsError, match="not the file that is pinned"):
        fetch_file(reference(hub, "0" * 64))
    assert not [path for path in (tmp_path / "unbraid").rglob("*") if path.is_file() and path.stat().st_size > 1000]


def test_a_file_that_was_replaced_since_is_refused(hub):
    fetch_file(reference(hub)).unlink()
    hub.repositories["owner/name"]["model.bin"] = CONTENT[::-1]
    with pytest.raises(WeightsError, match=r"models\.lock\.json"):
        fetch_file(reference(hub))


@pytest.mark.parametrize(
    ("status", "sentence"), [(401, "not open to everybody"), (404, "nothing at"), (429, "asks to wait")]
)
def test_refusals_are_one_sentence_each(hub, status, sentence):
    hub.status = status
    with pytest.raises(DownloadError, match=sentence):
        fetch_file(reference(hub))


def test_without_a_network_it_says_so(hub, monkeypatch):
    with pytest.raises(DownloadError, match="cannot be reached"):
        fetch_file(WebReference(url="http://127.0.0.1:9/model.bin"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(DownloadError, match="HF_HUB_OFFLINE"):
        fetch_file(reference(hub))

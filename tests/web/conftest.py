"""A server with a tiny model, in this process, and recordings to send to it."""

import io
import socket
import threading
import time

import numpy as np
import pytest
import soundfile
import uvicorn
from starlette.testclient import TestClient

from tests.conftest import PATIENCE_SECONDS, TINY
from tests.weights.hub_server import Hub
from tests.weights.published import write_speechbrain
from unbraid.models.catalog import build_model
from unbraid.web.app import build_app
from unbraid.web.config import ServeConfig
from unbraid.web.offers.choices import ModelChoice, ModelChoices
from unbraid.weights.store import inspect_model, save_model

BASE = "http://127.0.0.1"


class TinyChoices(ModelChoices):
    """One model of stems and one of speakers, with random weights."""

    def __init__(self, folder):
        found = []
        for name, preset in (("stems", "sfc-ca-small-cinematic"), ("speakers", "s4m-tiny-4ms")):
            path = save_model(build_model(preset, **TINY[preset]), folder / f"{name}.safetensors")
            spec = inspect_model(path).spec
            found.append(
                ModelChoice(
                    name=name,
                    title=name.capitalize(),
                    sources=spec.sources,
                    sample_rate=spec.sample_rate,
                    num_channels=spec.num_channels,
                    source=str(path),
                )
            )
        super().__init__(found)


@pytest.fixture(scope="session")
def choices(tmp_path_factory):
    return TinyChoices(tmp_path_factory.mktemp("models"))


@pytest.fixture
def hub(monkeypatch, tmp_path, choices):
    """A stand-in of the hub that has a tiny sepformer-wsj0-2mix, and caches in which nothing is yet."""
    pytest.importorskip("huggingface_hub", reason="needs the extra hub")
    server = Hub()
    write_speechbrain(tmp_path / "folder")
    files = {path.name: path.read_bytes() for path in (tmp_path / "folder").iterdir()}
    server.repositories["speechbrain/sepformer-wsj02mix"] = files
    monkeypatch.setenv("HF_ENDPOINT", server.address)
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setenv("UNBRAID_CACHE", str(tmp_path / "unbraid"))
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    choices.forget()
    yield server
    server.close()
    choices.forget()


def noise(seconds=1.0, rate=8000, channels=1, seed=0):
    """(sample, channel), 16 bits deep."""
    values = 0.1 * np.random.default_rng(seed).standard_normal((round(seconds * rate), channels))
    return np.round(values * 32_768) / 32_768


def wav(samples, rate=8000):
    file = io.BytesIO()
    soundfile.write(file, samples, rate, format="WAV", subtype="PCM_16")
    return file.getvalue()


@pytest.fixture
def open_client(tmp_path, choices):
    """Opens a server in a folder that stays the same through the test, so that it can be opened twice."""
    opened = []

    def open_one(**settings):
        config = ServeConfig(folder=tmp_path / "serve", devices=("cpu",), **{"workers": "thread", **settings})
        client = TestClient(build_app(config, choices), base_url=BASE)
        client.__enter__()
        opened.append(client)
        return client

    yield open_one
    for client in opened:
        client.__exit__(None, None, None)


@pytest.fixture
def client(open_client):
    return open_client()


def submit(client, data, name="talk.wav", **fields):
    return client.post("/api/separations", files={"file": (name, data)}, data={"model": "stems", **fields})


def wait(client, id, *states):
    """What a recording has become once it is in one of the states."""
    end = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < end:
        found = client.get(f"/api/separations/{id}").json()
        if found["state"] in (states or ("done", "failed", "cancelled")):
            return found
        time.sleep(0.02)
    raise AssertionError(f"still {found}")


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture
def unused_port():
    return free_port()


class Server:
    """A server that can be stopped, and started again at the same port with the same folder."""

    def __init__(self, folder, choices, **settings):
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._make = lambda: build_app(
            ServeConfig(folder=folder, devices=("cpu",), port=self.port, workers="thread", **settings), choices
        )
        self.start()

    def start(self):
        config = uvicorn.Config(
            self._make(),
            port=self.port,
            http="h11",
            h11_max_incomplete_event_size=1 << 14,
            log_level="warning",
            timeout_graceful_shutdown=1,
        )
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run)
        self._thread.start()
        end = time.monotonic() + PATIENCE_SECONDS
        while not self._server.started and time.monotonic() < end:
            time.sleep(0.02)

    def stop(self):
        self._server.should_exit = True
        self._thread.join()


@pytest.fixture
def serve(tmp_path, choices):
    servers = []

    def start(**settings):
        servers.append(Server(tmp_path / "serve", choices, **settings))
        return servers[-1]

    yield start
    for server in servers:
        server.stop()

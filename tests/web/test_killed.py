"""A server that is killed, which has no time to put anything in order."""

import json
import signal
import subprocess
import sys
import time
import urllib.request

import numpy as np
import pytest
import soundfile

from tests.conftest import PATIENCE_SECONDS, TINY
from tests.web.conftest import noise
from unbraid.models.catalog import build_model
from unbraid.weights.store import save_model

SERVER = """
import sys, uvicorn
from unbraid.web.app import build_app
from unbraid.web.offers.choices import ModelChoice, ModelChoices
from unbraid.web.config import ServeConfig
from pathlib import Path

folder, model, port = sys.argv[1:]
choice = ModelChoice(
    name="stems", title="", sources=("dialogue", "music", "effects"), sample_rate=8000, num_channels=1, source=model
)
app = build_app(ServeConfig(folder=Path(folder), devices=("cpu",), port=int(port)), ModelChoices([choice]))
uvicorn.run(app, port=int(port), log_level="warning")
"""


class Process:
    def __init__(self, tmp_path, model, port):
        self.folder, self.url = tmp_path / "serve", f"http://127.0.0.1:{port}/api/separations"
        self._command = [sys.executable, "-c", SERVER, str(self.folder), str(model), str(port)]
        self.start()

    def start(self):
        self._process = subprocess.Popen(self._command)
        self.ask(f"{self.url.removesuffix('/api/separations')}/health")

    def kill(self):
        self._process.send_signal(signal.SIGKILL)
        self._process.wait()

    def ask(self, request):
        """The answer, as soon as there is one."""
        end = time.monotonic() + PATIENCE_SECONDS
        while True:
            try:
                with urllib.request.urlopen(request, timeout=PATIENCE_SECONDS) as answer:
                    return json.load(answer)
            except OSError:
                assert time.monotonic() < end
                assert self._process.poll() is None
                time.sleep(0.05)

    def until(self, id, arrived):
        end = time.monotonic() + PATIENCE_SECONDS
        while not arrived(found := self.ask(f"{self.url}/{id}")):
            assert time.monotonic() < end, found
            time.sleep(0.02)
        return found


@pytest.mark.slow
def test_a_killed_server_takes_up_what_it_was_separating(tmp_path, unused_port):
    preset = "sfc-ca-small-cinematic"
    model = save_model(build_model(preset, **TINY[preset]), tmp_path / "stems.safetensors")
    server = Process(tmp_path, model, unused_port)
    try:
        path = tmp_path / "talk.wav"
        samples = noise(240.0)
        soundfile.write(path, samples, 8000, subtype="PCM_16")
        boundary = "between"
        head = (
            f'--{boundary}\r\nContent-Disposition: form-data; name="model"\r\n\r\nstems\r\n--{boundary}\r\n'
            'Content-Disposition: form-data; name="file"; filename="talk.wav"\r\n\r\n'
        )
        body = head.encode() + path.read_bytes() + f"\r\n--{boundary}--\r\n".encode()
        kind = {"content-type": f"multipart/form-data; boundary={boundary}"}
        id = server.ask(urllib.request.Request(server.url, body, kind))["id"]
        server.until(id, lambda found: found["state"] == "running" and 0 < found["progress"] < 0.9)
        server.kill()
        folder = server.folder / "recordings" / id
        assert not list((folder / "stems").glob("*.wav")), "a stem has its name only when it is whole"
        assert not (folder / "player" / "tracks.json").exists()
        server.start()
        found = server.until(id, lambda found: found["state"] not in ("queued", "running"))
        assert found["state"] == "done", found
        written = {one.name for one in (folder / "stems").iterdir()}
        assert written == {"dialogue.wav", "music.wav", "effects.wav", "separation.json"}, (
            "nothing of the first attempt"
        )
        for name in ("dialogue", "music", "effects"):
            stem, rate = soundfile.read(folder / "stems" / f"{name}.wav")
            assert (stem.shape, rate) == (samples[:, 0].shape, 8000)
            assert np.abs(stem).max() > 0
    finally:
        server.kill()

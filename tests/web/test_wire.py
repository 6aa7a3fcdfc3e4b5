"""What only a real server shows: its limits of the protocol, and programs that talk to it."""

import http.client
import os
import subprocess
import sys
from pathlib import Path

import soundfile

from tests.web.conftest import noise, wav

CLIENT = Path(__file__).parents[2] / "examples" / "web_client.py"


def test_oversized_headers_and_paths_are_refused(serve):
    server = serve()
    for path, headers, statuses in (
        ("/", {"x-long": "x" * 40_000}, (400, 431)),
        ("/static/../../config.py", {}, (404,)),
        ("/static/..%2f..%2fconfig.py", {}, (404,)),
    ):
        connection = http.client.HTTPConnection("127.0.0.1", server.port)
        connection.request("GET", path, headers=headers)
        assert connection.getresponse().status in statuses
        connection.close()


def test_the_client_of_the_examples_saves_stems(serve, tmp_path):
    server = serve(token="a long secret")
    (tmp_path / "talk.wav").write_bytes(wav(noise(1.0)))
    environment = os.environ | {"UNBRAID_SERVER": server.url, "UNBRAID_TOKEN": "a long secret"}
    command = [sys.executable, str(CLIENT), "talk.wav", "stems"]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stderr.splitlines()[-1] == "done 100%"
    for stem in ("dialogue", "music", "effects"):
        assert soundfile.info(tmp_path / "stems" / f"{stem}.wav").frames == 8000

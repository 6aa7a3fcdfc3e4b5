"""Models in a process of their own: the same results, cancelling, and a process that dies."""

import os
import signal
import time

from tests.conftest import PATIENCE_SECONDS
from tests.web.conftest import noise, submit, wait, wav


def test_a_process_separates_leaves_and_may_die(open_client):
    """One server, because its process takes seconds to start."""
    client = open_client(workers="process")
    first = wait(client, submit(client, wav(noise(1.0))).json()["id"])
    assert first["state"] == "done", first["message"]
    assert [stem["name"] for stem in first["stems"]] == ["dialogue", "music", "effects"]

    long = submit(client, wav(noise(600.0))).json()["id"]
    wait(client, long, "running")
    client.post(f"/api/separations/{long}/cancel")
    end = time.monotonic() + PATIENCE_SECONDS
    folder = client.app.state.queue.folder_of(long)
    while folder.exists():
        assert time.monotonic() < end
        time.sleep(0.02)
    after = wait(client, submit(client, wav(noise(1.0))).json()["id"])
    assert after["state"] == "done", after["message"]

    victim = submit(client, wav(noise(600.0, seed=1))).json()["id"]
    wait(client, victim, "running")
    os.kill(children_named("unbraid model")[0], signal.SIGKILL)
    found = wait(client, victim)
    assert (found["state"], "memory" in found["message"]) == ("failed", True)
    again = wait(client, submit(client, wav(noise(1.0))).json()["id"])
    assert again["state"] == "done", again["message"]


def children_named(name):
    from multiprocessing import active_children

    return [child.pid for child in active_children() if child.name == name]

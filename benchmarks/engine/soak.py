"""A long run: whether the server and a batch keep their memory and descriptors, and lose no job.

python -m benchmarks.engine.soak server --minutes 240      mixed jobs over HTTP on this machine, with a tiny model
python -m benchmarks.engine.soak server --pause 2          so long after each, for a machine that has other work
python -m benchmarks.engine.soak batch --files 10000       short files with the same model

The server's run says every ten minutes where it is, on standard error, so that one that is cut short is not in vain.
Slopes are straight lines through the second half of what was measured, so that what is loaded at first does not count.
"""

from __future__ import annotations

import argparse
import collections
import io
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import httpx
import numpy as np
import soundfile

from benchmarks.machine import describe

_EVERY = 20
"""Jobs between two measurements."""

_TOLD_SECONDS = 600.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("server", "batch", "serve"))
    parser.add_argument("--minutes", type=float, default=240.0)
    parser.add_argument("--pause", type=float, default=0.0, help="seconds after each job")
    parser.add_argument("--files", type=int, default=10_000)
    parser.add_argument("--folder", type=Path)
    options = parser.parse_args()
    if options.what == "serve":
        serve(options.folder)
        return
    print(describe(), flush=True)
    with tempfile.TemporaryDirectory() as folder:
        if options.what == "server":
            run_server(Path(folder), 60 * options.minutes, options.pause)
        else:
            run_batch(Path(folder), options.files)


def tiny_model(folder: Path) -> Path:
    from unbraid.models.catalog import build_model
    from unbraid.weights.store import save_model

    model = build_model("s4m-tiny-4ms", bottleneck_dim=8, hidden_dim=16, num_rounds=2, depth=2)
    return save_model(model, folder / "tiny.safetensors")


def run_server(folder: Path, seconds: float, pause: float) -> None:
    command = [sys.executable, "-m", "benchmarks.engine.soak", "serve", "--folder", str(folder)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        port = int(process.stdout.readline())
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=600) as client:
            jobs = _Jobs(client)
            samples = [measure(process.pid)]
            told = began = time.monotonic()
            while time.monotonic() < began + seconds:
                for _ in range(_EVERY):
                    jobs.next()
                    time.sleep(pause)
                samples.append(measure(process.pid))
                if time.monotonic() > told + _TOLD_SECONDS:
                    told = time.monotonic()
                    memory, descriptors, threads = samples[-1]
                    so_far = f"{(told - began) / 60:.0f} minutes, {jobs.count:,} jobs: {jobs.outcomes()}"
                    print(f"{so_far}; {memory:.1f} MiB, {descriptors} descriptors, {threads} threads", file=sys.stderr)
            jobs.check()
            print(f"{seconds / 60:g} minutes, {jobs.count:,} jobs: {jobs.outcomes()}")
            tell(samples, _EVERY)
    finally:
        process.terminate()
        process.wait()


class _Jobs:
    """Visitors of every kind, one after the other, and what has become of each."""

    def __init__(self, client: httpx.Client) -> None:
        self._client, self.count = client, 0
        self._outcomes = collections.Counter[str]()
        self._short, self._long = wav(0.2, 16_000, 1), wav(1.0, 44_100, 2)
        self._kinds = (self._fetched, self._cancelled, self._damaged, self._remixed, self._played, self._misspelt)

    def next(self) -> None:
        outcome = self._kinds[self.count % len(self._kinds)]()
        self.count += 1
        self._outcomes[outcome] += 1

    def outcomes(self) -> str:
        return ", ".join(f"{count:,} {name}" for name, count in sorted(self._outcomes.items()))

    def check(self) -> None:
        """That the server has counted as many as were done, and that nothing waits or runs."""
        metrics = self._client.get("/metrics").text
        for state in ("queued", "running"):
            line = next((line for line in metrics.splitlines() if f'state="{state}"' in line), " 0")
            assert float(line.split()[-1]) == 0, line
        assert sum(self._outcomes.values()) == self.count

    def _submit(self, data: bytes, **fields: str) -> httpx.Response:
        return self._client.post("/api/separations", files={"file": ("a.wav", data)}, data={"model": "tiny", **fields})

    def _done(self, data: bytes) -> str:
        answer = self._submit(data)
        assert answer.status_code == 201, answer.text
        id = answer.json()["id"]
        while (state := self._client.get(f"/api/separations/{id}").json()["state"]) in ("queued", "running"):
            time.sleep(0.02)
        assert state == "done", state
        return id

    def _remove(self, id: str) -> None:
        assert self._client.delete(f"/api/separations/{id}").is_success
        assert self._client.get(f"/api/separations/{id}").status_code == 404

    def _fetched(self) -> str:
        id = self._done(self._short)
        assert self._client.get(f"/api/separations/{id}/zip").content[:2] == b"PK"
        self._remove(id)
        return "separated and fetched"

    def _cancelled(self) -> str:
        self._remove(self._submit(self._long).json()["id"])
        return "removed at once"

    def _damaged(self) -> str:
        answer = self._submit(self._short[:20] + b"\xff" * 30)
        assert 400 <= answer.status_code < 500, answer.text
        return "damaged and refused"

    def _remixed(self) -> str:
        id = self._done(self._short)
        answer = self._client.post(f"/api/separations/{id}/remix", json={"gains_db": {"speaker1": -6.0}})
        assert answer.is_success, answer.text
        self._remove(id)
        return "remixed"

    def _played(self) -> str:
        id = self._done(self._long)
        answer = self._client.get(f"/api/separations/{id}/samples", params={"start": 0, "count": 1000})
        assert answer.is_success, answer.text
        self._remove(id)
        return "played"

    def _misspelt(self) -> str:
        answer = self._submit(self._short, consistency="residul")
        assert 400 <= answer.status_code < 500, answer.text
        return "misspelt and refused"


def serve(folder: Path) -> None:
    """The server itself, with a tiny model in a thread; prints its port."""
    import socket

    import uvicorn

    from unbraid.web.app import build_app
    from unbraid.web.config import ServeConfig
    from unbraid.web.offers.choices import ModelChoice, ModelChoices
    from unbraid.weights.store import inspect_model

    path = tiny_model(folder)
    spec = inspect_model(path).spec
    choice = ModelChoice(
        name="tiny",
        title="Tiny",
        sources=spec.sources,
        sample_rate=spec.sample_rate,
        num_channels=spec.num_channels,
        source=str(path),
    )
    config = ServeConfig(folder=folder / "serve", devices=("cpu",), workers="thread")
    listener = socket.create_server(("127.0.0.1", 0))
    print(listener.getsockname()[1], flush=True)
    settings = uvicorn.Config(build_app(config, ModelChoices([choice])), log_level="warning", access_log=False)
    uvicorn.Server(settings).run(sockets=[listener])


def run_batch(folder: Path, count: int) -> None:
    from unbraid.audio.discovery import discover_audio
    from unbraid.output.batch import run_jobs
    from unbraid.output.jobs import RecordingDone, RecordingFailed, plan_jobs
    from unbraid.output.record import ModelIdentity
    from unbraid.separation.separator import Separator

    path = tiny_model(folder)
    separator, identity = Separator(path, device="cpu"), ModelIdentity.of(path)
    (folder / "in").mkdir()
    data = wav(0.1, 16_000, 1)
    for number in range(count):
        damaged = number % 100 == 99
        (folder / "in" / f"{number:06d}.wav").write_bytes(data[:30] if damaged else data)
    jobs = plan_jobs(discover_audio([folder / "in"]).files, folder / "out", separator.stem_plan.names, model="tiny")
    done = failed = 0
    every = max(1, count // 50)
    samples, began = [], time.monotonic()
    for event in run_jobs(jobs, separator, identity):
        done += isinstance(event, RecordingDone)
        failed += isinstance(event, RecordingFailed)
        if isinstance(event, RecordingDone | RecordingFailed) and (done + failed) % every == 0:
            samples.append(measure(os.getpid()))
    records = sum(1 for _ in (folder / "out").rglob("*.unbraid.json"))
    assert (done, failed, records) == (count - count // 100, count // 100, done), (done, failed, records)
    print(f"{count:,} files in {time.monotonic() - began:.0f} s: {done:,} done, {failed:,} damaged and refused")
    # The last one is of a batch that has closed.
    tell(samples[:-1], every)


def measure(pid: int) -> tuple[float, int, int]:
    """MiB of memory, open descriptors and threads of a process."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    threads = len(os.listdir(f"/proc/{pid}/task"))
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20, len(os.listdir(f"/proc/{pid}/fd")), threads


def tell(samples: list[tuple[float, int, int]], every: int) -> None:
    half = np.array(samples[len(samples) // 2 :])
    jobs = every * np.arange(len(half))
    names = ("memory in MiB", "descriptors", "threads")
    for name, column in zip(names, half.T, strict=True):
        slope = 1000 * np.polyfit(jobs, column, 1)[0]
        print(f"{name}: {column[0]:.1f} to {column[-1]:.1f} in the second half, {slope:+.2f} per 1,000 jobs")


def wav(seconds: float, rate: int, channels: int) -> bytes:
    file = io.BytesIO()
    samples = 0.1 * np.random.default_rng(0).standard_normal((round(seconds * rate), channels))
    soundfile.write(file, samples, rate, format="WAV", subtype="PCM_16")
    return file.getvalue()


if __name__ == "__main__":
    main()

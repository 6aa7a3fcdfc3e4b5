"""`unbraid stream`: pipes in and out, every refusal one sentence, and sound devices that are played by a fake."""

import contextlib
import io
import signal
import subprocess
import sys
import threading
import types

import numpy as np
import pytest
import soundfile
import torch
from typer.testing import CliRunner

from tests.cli.conftest import environment, hear_ctrl_c
from tests.conftest import PATIENCE_SECONDS, TINY
from unbraid.audio.pcm import decode_pcm, encode_pcm
from unbraid.cli import doctor
from unbraid.cli.main import app
from unbraid.cli.stream_ends import wait_for
from unbraid.cli.stream_report import StreamReport
from unbraid.models.catalog import build_model
from unbraid.separation.session import LiveSeparator
from unbraid.weights.listing import bundled_models
from unbraid.weights.store import load_model, save_model

SAMPLES = (0.1 * np.random.default_rng(0).standard_normal(4001)).astype(np.float32)


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    torch.manual_seed(0)
    return save_model(build_model("s4m-live", **TINY["s4m-live"]), tmp_path_factory.mktemp("live") / "live.safetensors")


@pytest.fixture(scope="module")
def whole(weights):
    """What the model gives for all samples together."""
    with torch.inference_mode():
        return load_model(weights)(torch.from_numpy(SAMPLES)[None, None])[0, :, 0].numpy()


def stream(weights, data, *options):
    return CliRunner().invoke(app, ["stream", "-n", str(weights), *options], input=data)


def wav(samples=SAMPLES, rate=16000, **settings):
    file = io.BytesIO()
    soundfile.write(file, samples.T, rate, **{"format": "WAV", "subtype": "FLOAT"} | settings)
    return file.getvalue()


def test_wav_comes_out_with_a_channel_per_stem(weights, whole):
    done = stream(weights, wav())
    assert done.exit_code == 0, done.stderr
    found, rate = soundfile.read(io.BytesIO(done.stdout_bytes), dtype="float32")
    assert rate == 16000
    np.testing.assert_allclose(found.T, whole, atol=1e-6)
    assert "latency 112 samples (7.0 ms) at 16000 Hz" in done.stderr
    assert "real-time factor" in done.stderr


def test_raw_samples_come_out_as_they_went_in(weights, whole):
    done = stream(weights, encode_pcm(SAMPLES[None], "float32"), "--raw", "float32", "--stem", "speaker2")
    np.testing.assert_allclose(decode_pcm(done.stdout_bytes, "float32", 1), whole[1:], atol=1e-6)


def test_of_several_channels_the_mean_is_heard_and_that_is_said_once(weights, whole):
    done = stream(weights, wav(np.stack([SAMPLES * 1.5, SAMPLES * 0.5])))
    assert done.stderr.count("the mean of the 2 of the input") == 1
    found, _ = soundfile.read(io.BytesIO(done.stdout_bytes), dtype="float32")
    np.testing.assert_allclose(found.T, whole, atol=1e-6)


def test_samples_that_are_no_numbers_are_counted(weights):
    bad = SAMPLES.copy()
    bad[100] = np.nan
    done = stream(weights, wav(bad))
    found, _ = soundfile.read(io.BytesIO(done.stdout_bytes), dtype="float32")
    assert done.exit_code == 0
    assert np.isfinite(found).all()
    assert "taken as silence: 1" in done.stderr


@pytest.mark.parametrize(
    ("data", "options", "said"),
    [
        (b"", (), "standard input is empty"),
        (b"no sound at all", (), "does not begin as WAV does: send WAV, or say what raw samples are with --raw"),
        (wav(), ("--rate", "8000"), "the WAV header on standard input says 16000 where --rate says 8000"),
        (wav(), ("--channels", "2"), "the WAV header on standard input says 1 where --channels says 2"),
        (wav(), ("--stem", "drums"), "there is no stem 'drums'; there are: speaker1, speaker2"),
        (b"", ("--raw", "int16", "--rate", "10"), "10"),
        (
            encode_pcm(SAMPLES[None], "int16") + b"x",
            ("--raw", "int16"),
            "ended within a sample (bytes after the last whole one: 1)",
        ),
        (wav()[:-4000], (), "ended 0.06 s before the end that its WAV header promises"),
    ],
)
def test_what_cannot_be_streamed_ends_in_one_sentence(weights, data, options, said):
    done = stream(weights, data, *options)
    assert done.exit_code == 1
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_a_stream_that_is_cut_is_written_as_far_as_it_came(weights, whole):
    done = stream(weights, encode_pcm(SAMPLES[None], "float32") + b"x", "--raw", "float32")
    np.testing.assert_allclose(decode_pcm(done.stdout_bytes, "float32", 2), whole, atol=1e-6)


def test_an_output_without_space_ends_in_one_sentence(weights, monkeypatch):
    def full(sink, block):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("unbraid.audio.encode.wav.WavSink.write", full)
    done = stream(weights, wav())
    assert done.exit_code == 1
    assert "standard output cannot be written (No space left on device)" in done.stderr


def test_models_that_do_not_fit_say_so(tmp_path):
    path = save_model(build_model("s4m-tiny", **TINY["s4m-tiny"]), tmp_path / "whole.safetensors")
    assert "take a causal model" in stream(path, wav()).stderr
    if "speech-live" not in bundled_models():
        assert "runs/speech-live/best.safetensors" in CliRunner().invoke(app, ["stream"], input=wav()).stderr


def test_ctrl_c_writes_what_was_heard(weights, whole, monkeypatch):
    push, pushed = LiveSeparator.push, []

    def interrupted(self, samples):
        pushed.append(samples)
        if len(pushed) == 4:
            raise KeyboardInterrupt
        return push(self, samples)

    monkeypatch.setattr(LiveSeparator, "push", interrupted)
    done = stream(weights, encode_pcm(SAMPLES[None], "float32"), "--raw", "float32")
    found = decode_pcm(done.stdout_bytes, "float32", 2)
    assert done.exit_code == 0
    assert found.shape == (2, 3 * 320)
    assert "interrupted" in done.stderr
    np.testing.assert_allclose(found[:, : 960 - 352], whole[:, : 960 - 352], atol=1e-6)


def test_a_process_ends_on_ctrl_c_and_on_a_closed_pipe(weights, command):
    """Both while standard input stays open, and the thread that reads it waits."""
    data = encode_pcm(SAMPLES[None], "float32")
    processes = [
        subprocess.Popen(
            command("stream", "-n", weights, "--raw", "float32"),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment(),
            preexec_fn=hear_ctrl_c,
        )
        for _ in range(2)
    ]
    for process in processes:
        process.stdin.write(data)
        process.stdin.flush()
    interrupted, closed = processes
    # All but the latency, so that everything has been heard when this has come out.
    first = interrupted.stdout.read(2 * 4 * (len(SAMPLES) - 112))
    interrupted.send_signal(signal.SIGINT)
    rest = interrupted.stdout.read()
    assert interrupted.wait(PATIENCE_SECONDS) == 0
    assert len(first + rest) == 2 * len(data)
    assert b"interrupted" in interrupted.stderr.read()
    closed.stdout.read(100)
    closed.stdout.close()
    with contextlib.suppress(BrokenPipeError):
        for _ in range(200):
            closed.stdin.write(data)
            closed.stdin.flush()
    assert closed.wait(PATIENCE_SECONDS) in (0, 1)
    said = closed.stderr.read()
    assert b"Traceback" not in said
    assert b"Exception" not in said
    for process in processes:
        process.stderr.close()


def test_a_stall_is_told_once():
    from queue import Queue

    queue, told = Queue(), []
    threading.Timer(0.2, lambda: queue.put(7)).start()
    assert wait_for(queue, 0.01, lambda: told.append(1)) == 7
    assert told == [1]


class FakeDevices(types.ModuleType):
    """As sounddevice, with a microphone that hears SAMPLES and a loudspeaker that notes what it is given."""

    class PortAudioError(Exception):
        pass

    def __init__(self):
        super().__init__("sounddevice")
        self.played, self.opened = [], []
        fake = self

        class Stream:
            def __init__(self, *, device, channels, samplerate, blocksize, callback, **rest):
                if device == "broken":
                    raise FakeDevices.PortAudioError("Invalid sample rate")
                fake.opened.append(device)
                self.channels, self.blocksize, self.callback = channels, blocksize, callback
                self.thread = threading.Thread(target=self.run, daemon=True)
                self.ended = threading.Event()

            def start(self):
                self.thread.start()

            def stop(self):
                self.ended.set()
                self.thread.join()

            def close(self):
                pass

        class InputStream(Stream):
            def run(self):
                for start in range(0, len(SAMPLES), self.blocksize):
                    block = SAMPLES[start : start + self.blocksize, None]
                    self.callback(block, len(block), None, types.SimpleNamespace(input_overflow=start == 0))

        class OutputStream(Stream):
            def run(self):
                while not self.ended.wait(0.001):
                    samples = np.full((self.blocksize, self.channels), np.nan, np.float32)
                    self.callback(samples, self.blocksize, None, types.SimpleNamespace())
                    fake.played.append(samples)

        self.InputStream, self.OutputStream = InputStream, OutputStream


@pytest.fixture
def devices(monkeypatch):
    fake = FakeDevices()
    monkeypatch.setitem(sys.modules, "sounddevice", fake)
    return fake


def test_a_microphone_is_read_until_ctrl_c(weights, whole, devices, monkeypatch):
    def impatient(queue, seconds, on_stall):
        if queue.empty():
            raise KeyboardInterrupt
        return queue.get()

    monkeypatch.setattr("unbraid.cli.stream_devices.wait_for", impatient)
    monkeypatch.setattr("threading.Thread.start", lambda thread: thread.run())  # All is heard before the first is read.
    done = stream(weights, b"", "--input-device", "default")
    assert done.exit_code == 0, done.output
    found, _ = soundfile.read(io.BytesIO(done.stdout_bytes), dtype="float32")
    np.testing.assert_allclose(found.T, whole, atol=1e-6)
    assert "as the computer was too slow: 1" in done.stderr
    assert devices.opened == [None]


def test_loudspeakers_play_everything_and_gaps_are_counted(weights, whole, devices):
    done = stream(weights, wav(), "--output-device", "3")
    assert done.exit_code == 0, done.output
    assert devices.opened == [3]
    played = np.concatenate(devices.played).T
    assert np.isfinite(played).all()  # What is not there is silence.
    kept = played[:, np.abs(played).max(axis=0) > 0]
    heard = whole[:, np.abs(whole).max(axis=0) > 0]
    np.testing.assert_allclose(kept, heard, atol=1e-6)


def test_an_output_that_runs_dry_is_counted(devices):
    from unbraid.audio.pcm_stream import PcmFormat
    from unbraid.cli.stream_devices import DeviceOutput

    report = StreamReport()
    output = DeviceOutput("default", PcmFormat(), 0.02, 640, report)
    output.write(np.full((1, 700), 0.5, np.float32))
    while not report.underruns:
        threading.Event().wait(0.001)
    output.write(np.full((1, 100), 0.25, np.float32))
    output.finish()
    played = np.concatenate(devices.played)[:, 0]
    assert (np.count_nonzero(played == 0.5), np.count_nonzero(played == 0.25)) == (700, 100)
    assert report.underruns == 1


def test_doctor_knows_sound_devices(devices, monkeypatch):
    devices.query_devices = lambda: ["microphone", "loudspeakers"]
    assert [(check.status, check.text[:2]) for check in doctor._sound()] == [("ok", "2,")]
    monkeypatch.setattr("unbraid.cli.stream_devices.import_module", broken_library)
    assert "libportaudio2" in doctor._sound()[0].text
    monkeypatch.undo()
    monkeypatch.setitem(sys.modules, "sounddevice", None)
    assert doctor._sound() == []


def broken_library(name):
    raise OSError("PortAudio library not found")


def test_devices_that_are_not_there_say_so(weights, devices, monkeypatch):
    done = stream(weights, wav(), "--output-device", "broken")
    assert "the sound device 'broken' cannot be opened with 2 channels at 16000 Hz (Invalid sample rate)" in done.stderr
    monkeypatch.setitem(sys.modules, "sounddevice", None)
    assert "pip install 'unbraid[live]'" in stream(weights, wav(), "--output-device", "default").stderr

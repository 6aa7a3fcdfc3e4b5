"""The shape of demucs.api over any model."""

from __future__ import annotations

import numpy as np
import pytest
import soundfile
import torch

from tests.conftest import TINY
from unbraid.errors import ConfigError
from unbraid.models.catalog import build_model
from unbraid.separation.demucs_api import DemucsSeparator, list_demucs_models, save_audio
from unbraid.weights.store import save_model


@pytest.fixture(scope="module")
def stems_model(tmp_path_factory) -> str:
    model = build_model("sfc-ca-small", **TINY["sfc-ca-small"])
    return str(save_model(model, tmp_path_factory.mktemp("model") / "stems.safetensors"))


def test_origin_and_stems_are_at_the_models_rate_and_channels(stems_model, tmp_path):
    told: list[dict] = []
    separator = DemucsSeparator(stems_model, device="cpu", callback=told.append, callback_arg={"track": 3})
    assert (separator.samplerate, separator.audio_channels) == (8000, 2)
    soundfile.write(tmp_path / "mono.wav", np.random.default_rng(0).uniform(-0.2, 0.2, 16_000), 16_000)
    origin, stems = separator.separate_audio_file(tmp_path / "mono.wav")
    assert tuple(origin.shape) == (2, 8000)
    assert torch.equal(origin[0], origin[1])
    assert set(stems) == {"vocals", "drums", "bass", "other"}
    assert {tuple(stem.shape) for stem in stems.values()} == {(2, 8000)}
    assert told[-1] == {
        "model_idx_in_bag": 0,
        "shift_idx": 0,
        "segment_offset": 8000,
        "state": "end",
        "audio_length": 8000,
        "models": 1,
        "track": 3,
    }
    again, same = separator.separate_tensor(origin)
    assert torch.equal(again, origin)
    assert all(torch.equal(same[name], stems[name]) for name in stems)
    separator.update_parameter(split=False)
    with pytest.raises(ConfigError, match="there is no setting 'shift'"):
        separator.update_parameter(shift=2)


def test_a_callback_can_end_it(stems_model):
    def stop(_):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        DemucsSeparator(stems_model, device="cpu", callback=stop).separate_tensor(torch.full((2, 4000), 0.1))


@pytest.mark.parametrize(
    ("clip", "peak"), [("rescale", 1 / 1.01), ("clamp", 1.0), ("none", 1.0), ("tanh", float(np.tanh(2.0)))]
)
def test_what_exceeds_full_scale(tmp_path, clip, peak):
    wav = torch.tensor([[0.5, 2.0, -0.25]]).repeat(2, 1)
    save_audio(wav, tmp_path / "a.wav", 8000, clip=clip)
    written, rate = soundfile.read(tmp_path / "a.wav")
    assert (written.shape, rate) == ((3, 2), 8000)
    assert written.max() == pytest.approx(peak, abs=1e-4)


def test_formats_follow_the_name(tmp_path):
    wav = torch.zeros(1, 4000)
    save_audio(wav, tmp_path / "a.flac", 8000, bits_per_sample=32)
    save_audio(wav, tmp_path / "a.wav", 8000, as_float=True)
    save_audio(wav, tmp_path / "a.mp3", 8000, bitrate=128)
    assert soundfile.info(tmp_path / "a.flac").subtype == "PCM_24"
    assert soundfile.info(tmp_path / "a.wav").subtype == "FLOAT"
    assert soundfile.info(tmp_path / "a.mp3").format == "MP3"


def test_models_by_name():
    assert "speech" in list_demucs_models()["single"]

"""Settings of tiny networks of pymss-core, one for each kind that is known, as the community writes them."""

import pytest
import torch
import yaml

SOURCES = ["drums", "bass", "other", "vocals"]
ROFORMER = {
    "dim": 16,
    "depth": 1,
    "stereo": True,
    "num_stems": 1,
    "time_transformer_depth": 1,
    "freq_transformer_depth": 1,
    "dim_head": 8,
    "heads": 2,
    "stft_n_fft": 512,
    "stft_hop_length": 128,
    "stft_win_length": 512,
    "mask_estimator_depth": 1,
    "multi_stft_resolutions_window_sizes": (4096, 2048),
}
BANDS = {"freqs_per_bands": (1,) * 57 + (50, 50, 50, 50)}
AUDIO = {"chunk_size": 80_000, "sample_rate": 8000, "num_channels": 2}
VOCALS = {"instruments": ["vocals", "other"], "target_instrument": "vocals"}
FOUR = {"instruments": SOURCES, "target_instrument": None}
SCNET = {
    "sources": SOURCES,
    "audio_channels": 2,
    "dims": [4, 8, 8],
    "nfft": 512,
    "hop_size": 128,
    "win_size": 512,
    "normalized": True,
    "conv_depths": [1, 1, 1],
    "num_dplayer": 2,
}
MDX23C = {
    "act": "gelu",
    "norm": "InstanceNorm",
    "num_subbands": 4,
    "num_scales": 2,
    "scale": (2, 2),
    "num_blocks_per_scale": 1,
    "num_channels": 8,
    "growth": 4,
    "bottleneck_factor": 4,
}
BANDIT = {"stems": ["speech", "music", "sfx"], "fs": 8000, "n_bands": 16, "n_fft": 512}
BANDIT |= {"win_length": 512, "hop_length": 128, "n_sqm_modules": 1, "emb_dim": 8, "rnn_dim": 8, "mlp_dim": 8}
SETTINGS = {
    "bs_roformer": {"audio": AUDIO, "model": ROFORMER | BANDS, "training": VOCALS},
    "mel_band_roformer": {
        "audio": AUDIO,
        "model": ROFORMER | {"num_bands": 20, "sample_rate": 8000},
        "training": VOCALS,
    },
    "scnet": {"audio": AUDIO, "model": SCNET, "training": FOUR},
    "mdx23c": {
        "audio": {**AUDIO, "chunk_size": 81_920 - 128, "n_fft": 512, "hop_length": 128, "dim_f": 256, "dim_t": 640},
        "model": MDX23C,
        "training": FOUR,
    },
    "bandit": {
        "audio": AUDIO,
        "model": BANDIT
        | {"in_channel": 1, "band_specs": "musical", "rnn_type": "GRU", "hidden_activation_kwargs": None},
        "training": {"instruments": BANDIT["stems"], "target_instrument": None},
    },
    "bandit_v2": {"audio": {**AUDIO, "num_channels": 1}, "kwargs": BANDIT | {"in_channels": 1}, "training": {}},
}


def package_network(kind, tmp_path):
    """The package's own network with random weights."""
    pymss_core = pytest.importorskip("pymss_core", reason="needs the extra zoo")
    torch.manual_seed(0)
    (tmp_path / "theirs.yaml").write_text(yaml.dump(SETTINGS[kind]))
    return pymss_core.get_model_from_config(kind, str(tmp_path / "theirs.yaml"))[0].eval()

import json

import pytest
import torch
from einops import rearrange
from safetensors import safe_open

from tests.conftest import GOLDEN, TINY
from unbraid.errors import ConfigError
from unbraid.inspection.profile import count_macs
from unbraid.layers.attention import SelfAttentionConfig
from unbraid.layers.mamba import MambaConfig
from unbraid.layers.recurrent import RecurrentConfig
from unbraid.layers.state_space import StateSpaceConfig
from unbraid.models.catalog import build_model
from unbraid.models.sfc import compression as frames
from unbraid.models.sfc.band_split import BandSplitConfig
from unbraid.models.sfc.cross_attention import CrossAttentionConfig
from unbraid.models.sfc.dual_path import DualPathConfig
from unbraid.models.sfc.locoformer import LocoformerConfig, TFLocoformer
from unbraid.models.sfc.mamba import MambaCompressionConfig, interleaving, query_slots
from unbraid.models.sfc.model import SFC, SFCConfig, SFCCore
from unbraid.models.sfc.uncompressed import UncompressedConfig
from unbraid.signal.bands import build_bands
from unbraid.weights.adapters.sfc_authors import convert
from unbraid.weights.store import load_model, save_model


def reference_config(name):
    """Our config from the settings that a golden file carries."""
    with safe_open(GOLDEN / f"{name}.safetensors", framework="pt") as file:
        settings = json.loads(file.metadata()["config"])
    settings = settings.get("model", settings)
    separator, encoder = settings.get("separator", settings), settings.get("encoder", {})
    locoformer = LocoformerConfig(
        dim=separator["emb_dim"],
        num_blocks=separator["n_layers"],
        num_groups=separator["num_groups"],
        sequence=SelfAttentionConfig(
            num_heads=separator["n_heads"],
            inner_dim=separator["attention_dim"],
            positions="rotary" if separator.get("pos_enc") == "rope" else "none",
            dropout=separator["dropout"],
        ),
        feedforward_dims=tuple(separator["ffn_hidden_dim"]),
        kernel_size=separator["conv1d_kernel"],
        dropout=separator["dropout"],
    )
    if not encoder:
        return locoformer
    match settings["kind"]:
        case "ca":
            compression = CrossAttentionConfig(
                inner_dim=encoder["d_inner"],
                num_heads=encoder["n_heads"],
                queries=encoder["query_type"],
                mask_outside_bands=encoder.get("mask_outside_bands", False),
            )
        case "mamba":
            compression = MambaCompressionConfig(
                inner_dim=encoder["d_inner"],
                queries=encoder["query_type"],
                mamba=MambaConfig(state_size=encoder["d_state"], conv_size=encoder["d_conv"], expand=encoder["expand"]),
            )
        case "bs":
            compression = BandSplitConfig()
    return SFCConfig(
        num_channels=encoder.get("n_chan", encoder.get("in_channel")),
        sources=tuple("abcdefg"[: settings["decoder"]["n_src"]]),
        n_fft=encoder["n_fft"],
        num_bands=encoder["n_bands"],
        compression=compression,
        separator=locoformer,
        frames="released",
    )


def weights(tensors):
    return {name.removeprefix("weights/"): tensor for name, tensor in tensors.items() if name.startswith("weights/")}


@pytest.mark.parametrize(
    ("name", "tolerance"),
    [
        ("sfc_ca_a", 1e-5),
        ("sfc_ca_adaptive_a", 1e-5),
        ("sfc_ca_masked_a", 1e-5),
        ("sfc_mamba_a", 5e-5),
        ("sfc_mamba_learnable_a", 2e-5),
        ("bs_a", 5e-6),
    ],
)
@pytest.mark.parametrize("training", [False, True], ids=["inference", "training"])
def test_the_core_gives_what_the_authors_code_gives(golden, name, tolerance, training):
    tensors, config = golden(name), reference_config(name)
    core = SFCCore(config).eval()
    core.load_state_dict(convert(weights(tensors), config))
    spectrum = rearrange(tensors["input"], "batch channel freq frame part -> batch channel part freq frame")
    with torch.set_grad_enabled(training):
        encoded, _ = core.encoder(
            rearrange(spectrum, "batch channel part freq frame -> batch frame freq (part channel)")
        )
        estimates = core(spectrum)
    assert (encoded.permute(0, 3, 1, 2) - tensors["encoder_output"]).abs().max() < 5e-5
    expected = rearrange(
        tensors["output"], "batch source channel freq frame part -> batch source channel part freq frame"
    )
    assert (estimates - expected).abs().max() < tolerance


def test_from_wave_to_waves_it_gives_what_the_authors_code_gives(golden):
    tensors, config = golden("sfc_wrapper_a"), reference_config("sfc_wrapper_a")
    model = SFC(config).eval()
    model.core.load_state_dict(convert(weights(tensors), config))
    with torch.inference_mode():
        assert (model(tensors["input"]) - tensors["output"]).abs().max() < 1e-4


def test_the_separator_alone_gives_what_the_authors_code_gives(golden):
    tensors, config = golden("tf_locoformer_sfc_a"), reference_config("tf_locoformer_sfc_a")
    separator = TFLocoformer(config).eval()
    converted = convert(weights(tensors), SFCConfig(separator=config))
    separator.load_state_dict({name.removeprefix("separator."): tensor for name, tensor in converted.items()})
    output = separator(tensors["input"].permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
    assert (output - tensors["output"]).abs().max() < 1e-5


def test_without_compression_it_is_the_original_tf_locoformer(golden):
    tensors, separator = golden("tf_locoformer_merl_a"), reference_config("tf_locoformer_merl_a")
    config = SFCConfig(
        num_channels=1,
        sources=("first", "second"),
        n_fft=32,
        compression=UncompressedConfig(),
        separator=separator,
        estimate="spectrum",
    )
    core = SFCCore(config).eval()
    core.load_state_dict(convert(weights(tensors), config))
    spectrum = rearrange(tensors["input"], "batch frame freq part -> batch 1 part freq frame")
    estimates = rearrange(core(spectrum), "batch source 1 part freq frame -> batch source frame freq part")
    assert (estimates - tensors["output"]).abs().max() < 5e-5


def count(module):
    return sum(parameter.numel() for parameter in module.parameters())


@pytest.mark.parametrize(
    ("preset", "encoder", "decoder", "separator", "total"),
    [
        ("bs-small", 0.846, 28.786, 5.021, 34.653),
        ("sfc-mamba-small", 0.067, 0.056, 5.021, 5.145),
        ("sfc-ca-small", 0.366, 0.434, 5.021, 5.821),
        ("bs-medium", 1.122, 39.407, 14.959, 55.488),
        ("sfc-mamba-medium", 0.132, 0.110, 14.959, 15.201),
        ("sfc-ca-medium", 0.476, 0.578, 14.959, 16.013),
    ],
)
def test_presets_have_the_published_numbers_of_parameters(preset, encoder, decoder, separator, total):
    core = build_model(preset).core
    parts = [round(count(part) / 1e6, 3) for part in (core.encoder, core.decoder, core.separator, core)]
    assert parts == [encoder, decoder, separator, total]


@pytest.mark.parametrize(
    ("preset", "num_bands", "millions"),
    [
        ("sfc-ca-small", 48, 5.689),
        ("sfc-ca-small", 32, 5.557),
        ("sfc-ca-medium", 48, 15.881),
        ("sfc-ca-medium", 32, 15.748),
    ],
)
def test_fewer_bands_leave_the_published_numbers_of_parameters(preset, num_bands, millions):
    assert round(count(build_model(preset, num_bands=num_bands)) / 1e6, 3) == millions


@pytest.mark.parametrize(("sample_rate", "n_fft"), [(16_000, 768), (24_000, 1024), (44_100, 2048), (48_000, 2304)])
def test_windows_keep_their_duration_at_other_rates(sample_rate, n_fft):
    config = SFCConfig(sample_rate=sample_rate)
    assert config.fft_samples == n_fft
    assert config.bands.num_freqs == n_fft // 2 + 1


def test_queries_of_mamba_stand_where_the_authors_put_them(golden):
    for key, (num_freqs, num_bands) in {"K64": (1025, 64), "K32": (1025, 32), "nfft256_K16": (129, 16)}.items():
        upward, downward = query_slots(build_bands("musical", num_freqs, num_bands), "band-middle")
        assert list(upward) == golden("sfc_bands")[f"{key}/query_indices"].tolist()
        assert upward == downward


def test_at_band_ends_each_direction_has_met_the_whole_band():
    bands = build_bands("musical", 129, 16)
    for slots, backwards in zip(query_slots(bands, "band-ends"), (False, True), strict=True):
        order = interleaving(slots, 129).tolist()
        assert sorted(order) == list(range(145))
        for band, (start, end) in enumerate(zip(bands.starts, bands.ends, strict=True)):
            place = order.index(band)
            own = [order.index(16 + freq) for freq in (start, end - 1)]
            assert (max(own) < place) if not backwards else (min(own) > place)


@pytest.mark.parametrize(
    "compression",
    [
        CrossAttentionConfig(inner_dim=8, num_heads=2, positional_bias="none"),
        CrossAttentionConfig(inner_dim=8, num_heads=2, positional_bias="fixed"),
        CrossAttentionConfig(inner_dim=8, num_heads=2, positional_bias="slope"),
        CrossAttentionConfig(inner_dim=8, num_heads=2, positional_bias="none", mask_outside_bands=True),
        CrossAttentionConfig(inner_dim=8, num_heads=2, queries="adaptive"),
        MambaCompressionConfig(inner_dim=6, placement="band-ends"),
        MambaCompressionConfig(inner_dim=6, placement="spread", queries="learnable"),
        BandSplitConfig(),
        BandSplitConfig(norm="chunk"),
        UncompressedConfig(),
    ],
)
@pytest.mark.parametrize(
    "separator",
    [
        LocoformerConfig(
            dim=8, num_blocks=1, num_groups=2, sequence=StateSpaceConfig(state_dim=4), feedforward_dims=(6, 6)
        ),
        LocoformerConfig(dim=8, num_blocks=1, num_groups=2, sequence=MambaConfig(), feedforward_dims=(6, 6)),
        DualPathConfig(dim=8, num_blocks=1, num_groups=2, sequence=RecurrentConfig(hidden_dim=6)),
        DualPathConfig(dim=8, num_blocks=1, num_groups=2, sequence=RecurrentConfig(kind="lstm", hidden_dim=6)),
    ],
    ids=["locoformer-s4", "locoformer-mamba", "dual-path-gru", "dual-path-lstm"],
)
def test_any_compressor_goes_with_any_separator(compression, separator, tmp_path):
    config = SFCConfig(sample_rate=8000, n_fft=64, num_bands=8, compression=compression, separator=separator)
    model = build_model(config).train()
    estimates = model(torch.randn(2, 2, 500))
    estimates.square().mean().backward()
    assert all(parameter.grad is not None for parameter in model.parameters())
    again = load_model(save_model(model.eval(), tmp_path / "model.safetensors"))
    assert again.config == config


@pytest.mark.parametrize("preset", ["sfc-ca-small", "sfc-mamba-small", "bs-small"])
def test_a_few_frames_at_a_time_give_the_same_gradients(preset, monkeypatch):
    monkeypatch.setattr(frames, "_TOKENS_AT_ONCE", 100)  # three frames of 33 bins
    model = build_model(preset, **TINY[preset])
    mixture = torch.randn(2, 2, 700)
    found = {}
    for enabled in (False, True):
        model.set_gradient_checkpointing(enabled)
        model.zero_grad()
        model(mixture).square().sum().backward()
        found[enabled] = {name: value.grad.clone() for name, value in model.named_parameters()}
    for name, gradient in found[False].items():
        assert torch.allclose(gradient, found[True][name], rtol=1e-4, atol=1e-6), name
    with torch.inference_mode():
        in_pieces = model(mixture)
    assert torch.allclose(in_pieces, model(mixture), atol=1e-5)


@pytest.mark.parametrize(
    "wrong", [{"num_bands": 1}, {"n_fft": 30}, {"band_scale": "bs-roformer"}, {"num_bands": 33}, {"n_fft": 6}]
)
def test_impossible_settings_are_refused(wrong):
    with pytest.raises(ConfigError):
        build_model("sfc-ca-small", **({"sample_rate": 8000, "n_fft": 64, "num_bands": 8} | wrong))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("preset", "published"),
    [("bs-small", 36.49), ("sfc-ca-small", 41.04), ("bs-medium", 100.06), ("sfc-ca-medium", 110.37)],
)
def test_presets_cost_the_published_number_of_operations(preset, published):
    model = build_model(preset)
    macs = count_macs(model, torch.zeros(1, 2, 12 * 44_100))[""] / 12 / 1e9
    assert macs == pytest.approx(published, rel=0.01)

import json

import pytest
import torch
from einops import rearrange
from safetensors import safe_open

from tests.conftest import GOLDEN
from unbraid.layers.attention import SelfAttentionConfig
from unbraid.models.sfc.band_split import BandSplitConfig
from unbraid.models.sfc.cross_attention import CrossAttentionConfig
from unbraid.models.sfc.locoformer import LocoformerConfig, TFLocoformer
from unbraid.models.sfc.model import SFC, SFCConfig, SFCCore
from unbraid.models.sfc.uncompressed import UncompressedConfig
from unbraid.weights.adapters.sfc_authors import convert


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
        encoded, _ = core.encoder(rearrange(spectrum, "batch channel part freq frame -> batch frame freq (part channel)"))
        estimates = core(spectrum)
    assert (encoded.permute(0, 3, 1, 2) - tensors["encoder_output"]).abs().max() < 2e-5
    expected = rearrange(tensors["output"], "batch source channel freq frame part -> batch source channel part freq frame")
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

"""Models with random weights, written exactly as other projects publish theirs."""

import json
import os

import torch
import yaml
from safetensors import safe_open
from safetensors.torch import save_file

from tests.conftest import GOLDEN


def golden(name):
    """Weights under the reference's names, its settings, and its input and output."""
    with safe_open(GOLDEN / f"{name}.safetensors", framework="pt") as file:
        tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
        settings = json.loads(file.metadata()["config"])
    weights = {key.removeprefix("weights/"): value for key, value in tensors.items() if key.startswith("weights/")}
    return weights, settings, tensors


def write_sfc(folder, name="sfc_wrapper_a", *, checkpoints=None):
    """A run of the authors: Hydra's config, and checkpoints/model.pth or several .ckpt of Lightning."""
    weights, settings, tensors = golden(name)
    model = settings.get("model", settings)
    config = {
        "task": {
            "_target_": "spectral_feature_compression.core.tasks.SeparationTask",
            "model": {
                "_target_": "spectral_feature_compression.core.model.model_wrapper.ModelWrapper",
                "model": {
                    "_target_": "spectral_feature_compression.core.model.bslocoformer.BSLocoformer",
                    **model["separator"],
                    "encoder": model["encoder"],
                    "decoder": model["decoder"],
                },
            },
        },
        "trainer": {"max_epochs": 900, "precision": "bf16-mixed"},
    }
    (folder / "checkpoints").mkdir(parents=True)
    (folder / "merged_config.yaml").write_text(yaml.safe_dump(config))
    if not checkpoints:
        torch.save(weights, folder / "checkpoints/model.pth")
        return tensors
    for number, shift in enumerate(checkpoints):
        state = {f"model.{key}": value + shift for key, value in weights.items()}
        torch.save({"epoch": number, "state_dict": state}, folder / f"checkpoints/epoch{number}.ckpt")
    torch.save({"state_dict": {}}, folder / "checkpoints/last.ckpt")
    return tensors


def write_bs_locoformer(folder, name="bs_locoformer_a"):
    """A run of BS-Locoformer: Hydra's config with its references unresolved, and checkpoints/model.pth."""
    weights, settings, tensors = golden(name)
    inner = {key: value for key, value in settings.items() if key not in ("sr", "n_fft", "hop_length")}
    wrapper = {"_target_": "mixit_mss.mixit.model.model_wrapper.ModelWrapper", "fs": "${sr}", "scaling": True}
    network = {"_target_": "mixit_mss.mixit.model.bslocoformer.BSLocoformer", **inner, "num_spk": "${n_src}"}
    task = {"_target_": "mixit_mss.mixit.tasks.sup_task.SupTask", "model": {**wrapper, "model": network}}
    sizes = {"sr": settings["sr"], "n_fft": settings["n_fft"], "hop_length": settings["hop_length"]}
    (folder / "checkpoints").mkdir(parents=True)
    (folder / "merged_config.yaml").write_text(yaml.safe_dump({**sizes, "n_src": inner["num_spk"], "task": task}))
    state = {f"model.{key}": value for key, value in weights.items()}
    windows = ("stft.0.window", "model.stft.0.window", "model.istft.window")
    torch.save({**state, **{key: torch.hann_window(64) for key in windows}}, folder / "checkpoints/model.pth")
    return tensors


HYPERPARAMS = """# Generated
sample_rate: {rate}
num_spks: 2
Encoder: !new:speechbrain.lobes.models.dual_path.Encoder
    kernel_size: 16
SBtfintra: !new:speechbrain.lobes.models.dual_path.SBTransformerBlock
    nhead: {heads}
MaskNet: !new:speechbrain.lobes.models.dual_path.Dual_Path_Model
    K: {chunk}
bomb: !apply:os.system ["touch {bomb}"]
"""


def write_speechbrain(folder, bomb="/nowhere/bomb"):
    """Three checkpoints, and settings that would run a program if they were executed."""
    weights, settings, tensors = golden("sepformer_a")
    folder.mkdir(parents=True)
    for part in ("encoder", "masknet", "decoder"):
        state = {key.removeprefix(f"{part}."): value for key, value in weights.items() if key.startswith(f"{part}.")}
        torch.save(state, folder / f"{part}.ckpt")
    text = HYPERPARAMS.format(rate=8000, heads=settings_heads(settings), chunk=settings_chunk(settings), bomb=bomb)
    (folder / "hyperparams.yaml").write_text(text)
    return tensors


def settings_heads(settings):
    return _find(settings, ("nhead", "n_heads", "num_heads", "heads"), 2)


def settings_chunk(settings):
    return _find(settings, ("K", "chunk", "chunk_frames"), 20)


def _find(settings, names, otherwise):
    for name in names:
        if name in settings:
            return settings[name]
        for value in settings.values():
            if isinstance(value, dict) and name in value:
                return value[name]
    return otherwise


def write_demucs(folder, networks, name="tiny", weights=None, half=False):
    """A bag as demucs puts it on the hub: a YAML, and one safetensors file a member with class and arguments."""
    folder.mkdir(parents=True, exist_ok=True)
    signatures = [f"{number + 1:08x}" for number in range(len(networks))]
    for signature, network in zip(signatures, networks, strict=True):
        args, kwargs = network._init_args_kwargs
        metadata = {
            "klass": f"{type(network).__module__}.{type(network).__name__}",
            "args": json.dumps([_plain(value) for value in args]),
            "kwargs": json.dumps({key: _plain(value) for key, value in kwargs.items()}),
        }
        tensors = {key: value.half() if half else value for key, value in network.state_dict().items()}
        save_file(
            {key: value.contiguous() for key, value in tensors.items()}, folder / f"{signature}.safetensors", metadata
        )
    bag = {"models": signatures, **({"weights": weights} if weights else {})}
    (folder / f"{name}.yaml").write_text(yaml.safe_dump(bag))
    return folder


def _plain(value):
    if hasattr(value, "numerator") and not isinstance(value, int):
        return {"_type": "fraction", "numerator": value.numerator, "denominator": value.denominator}
    return value


def write_settings(folder, network, settings, *, stem="model", prefix=""):
    """Weights and a YAML beside them, as the community publishes RoFormers and their like."""
    folder.mkdir(parents=True, exist_ok=True)
    torch.save({f"{prefix}{key}": value for key, value in network.state_dict().items()}, folder / f"{stem}.ckpt")
    (folder / f"config_{stem}.yaml").write_text(yaml.dump(settings))
    return folder


class Bomb:
    """Unpickled, it would make a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.system, (f"touch {self.path}",)

"""Cores as ONNX and PyTorch programs, and what does not export."""

import runpy
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import jaxtyping
import numpy as np
import pytest
import soundfile
import torch
from torch.nn import functional as F
from typer.testing import CliRunner

from tests.conftest import TINY
from unbraid.cli.main import app
from unbraid.errors import ConfigError, SignalError, WeightsError
from unbraid.layers.convolution import _pool_by_running_sum, pool_average
from unbraid.layers.mamba import MambaConfig
from unbraid.layers.state_space import StateSpaceConfig, convolve, convolve_directly
from unbraid.models.catalog import PRESETS, build_model, config_of
from unbraid.models.dprnn.model import DPRNNConfig
from unbraid.models.exporting import exportable_core, replace_core
from unbraid.models.super_resolution.wrapper import WithSuperResolutionConfig
from unbraid.separation.backends.onnxruntime import load_onnx
from unbraid.separation.separator import Separator
from unbraid.weights.portable import check_program, export_program, read_weights_around, weights_around
from unbraid.weights.store import save_model

onnx = pytest.importorskip("onnx", reason="needs the extra onnx")
pytest.importorskip("onnxscript", reason="needs the extra onnx")
pytest.importorskip("onnxruntime", reason="needs the extra onnx")

EXAMPLE = Path(__file__).parents[2] / "examples" / "onnx_numpy.py"
REFUSED = {"sfc-mamba": "one after the other", "sfsrnet": "super-resolution", "super-resolution": "super-resolution"}
REFUSED["s4m-live"] = "states"


pytestmark = pytest.mark.usefixtures("symbolic_sizes")


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """A model, its weights file and its ONNX file, which the command line wrote: exporting takes seconds."""
    folder = tmp_path_factory.mktemp("tiny")
    model = build_model("fb-tiny", **TINY["fb-tiny"])
    weights, path = save_model(model, folder / "tiny.safetensors"), folder / "tiny.onnx"
    jaxtyping.config.update("jaxtyping_disable", True)
    arguments = ["models", "export", str(weights), "--to", "onnx", "--out", str(path)]
    assert CliRunner().invoke(app, arguments).exit_code == 0
    return model, weights, path


def exported(name, folder, precision="float32", **changes):
    model = build_model(name, **TINY[name] | changes)
    return model, export_program(model, folder / "model.onnx", "onnx", name=name, precision=precision)


def assert_same(model, path, lengths=(1700, 4001)):
    again = load_onnx(path)
    assert again.spec == model.spec
    for num_samples in lengths:
        mixture = 0.1 * torch.randn(3, model.spec.num_channels, num_samples)
        mixture[1] = 0
        with torch.inference_mode():
            made, expected = again(mixture), model(mixture)
        assert torch.allclose(made, expected, atol=1e-5)
        assert (made - expected).abs().max() < 1e-4 * expected.abs().max()


def test_onnx_runs_any_number_of_rows_and_frames_and_silence(tiny):
    model, _, path = tiny
    assert_same(model, path)


@pytest.mark.parametrize("name", ["s4m-tiny", "fb-tiny", "mtfa"])
def test_what_lies_around_a_core_is_kept(name):
    model, shell = build_model(name, **TINY[name]), build_model(name, **TINY[name])
    header = {"around": weights_around(model)}
    replace_core(shell, model.core)
    shell.load_state_dict(read_weights_around(header))
    mixture = 0.1 * torch.randn(2, model.spec.num_channels, 2600)
    with torch.inference_mode():
        assert torch.equal(shell(mixture), model(mixture))


def test_the_example_separates_without_pytorch(tiny, tmp_path):
    model, _, path = tiny
    mixture = 0.1 * torch.randn(2, 4003)
    soundfile.write(tmp_path / "mixture.wav", mixture.T.numpy(), 8000, subtype="FLOAT")
    program = (
        f"import runpy, sys; runpy.run_path({str(EXAMPLE)!r}, run_name='__main__'); assert 'torch' not in sys.modules"
    )
    files = [str(path), str(tmp_path / "mixture.wav"), str(tmp_path / "stems")]
    subprocess.run([sys.executable, "-c", program, *files], check=True, cwd=tmp_path)
    with torch.inference_mode():
        expected = model(mixture[None])[0]
    for name, estimate in zip(model.spec.sources, expected, strict=True):
        made, _ = soundfile.read(tmp_path / "stems" / f"{name}.wav", dtype="float32")
        assert np.allclose(made.T, estimate, atol=1e-4)


@pytest.mark.slow
def test_with_a_post_filter_a_model_exports_whole(tmp_path):
    """With both polarities, and runs in the example as well."""
    model = with_post_filter("s4m-tiny", both_polarities=True)
    path = export_program(model, tmp_path / "model.onnx", "onnx", name="tiny")
    assert_same(model, path, lengths=(1, 1700, 4001))
    mixture = 0.1 * torch.randn(1, 1, 3000)
    soundfile.write(tmp_path / "mixture.wav", mixture[0].T.numpy(), model.spec.sample_rate, subtype="FLOAT")
    runpy.run_path(str(EXAMPLE))["main"](path, tmp_path / "mixture.wav", tmp_path / "stems")
    with torch.inference_mode():
        expected = model(mixture)[0]
    for name, estimate in zip(model.spec.sources, expected, strict=True):
        made, _ = soundfile.read(tmp_path / "stems" / f"{name}.wav", dtype="float32")
        assert np.allclose(made, estimate[0], atol=1e-4)
    with pytest.raises(SignalError, match="at most"):
        load_onnx(path)(torch.randn(1, 1, 3 * round(model.spec.chunk_seconds * model.spec.sample_rate)))


def test_the_example_says_what_is_missing(tmp_path):
    for arguments, sentence in (([], "usage: "), (["a.onnx", "b.wav", "stems"], "error: there is no file a.onnx")):
        done = subprocess.run(
            [sys.executable, str(EXAMPLE), *arguments], cwd=tmp_path, capture_output=True, text=True, check=False
        )
        assert done.returncode == 1
        assert done.stderr.startswith(sentence)


def test_the_separator_runs_it(tiny):
    _, weights, path = tiny
    mixture = 0.1 * np.random.default_rng(0).standard_normal((2, 9000)).astype(np.float32)
    by_torch = Separator(weights, device="cpu").separate(mixture, 8000)
    by_onnx = Separator(path, device="cpu", backend="onnxruntime").separate(mixture, 8000)
    for name, stem in by_torch.items():
        assert np.allclose(by_onnx[name].samples, stem.samples, atol=1e-4)


@pytest.mark.slow
def test_a_model_by_its_name_is_exported_once(tiny, tmp_path, monkeypatch):
    monkeypatch.setenv("UNBRAID_CACHE", str(tmp_path / "cache"))
    _, weights, _ = tiny
    for _ in range(2):
        Separator(weights, device="cpu", backend="onnxruntime")
    assert len(list((tmp_path / "cache/onnx").glob("*.onnx"))) == 1


@pytest.mark.slow
def test_torch_export(tmp_path):
    model = build_model("fb-tiny", **TINY["fb-tiny"])
    path = export_program(model, tmp_path / "tiny.pt2", "torch-export", name="tiny")
    spectrum = torch.randn(3, 2, 2, 33, 50)
    with torch.inference_mode():
        assert torch.allclose(torch.export.load(path).module()(spectrum), model.core(spectrum), atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    ["s4m-tiny", "s4m", "sepformer", "dprnn", "sfc-ca-small", "sfc-ca-small-cinematic", "bs-small", "resunet", "mtfa"],
)
def test_every_core_runs_as_onnx(name, tmp_path):
    model, path = exported(name, tmp_path)
    # MTFA from 33 frames on, where its deepest level has two.
    assert_same(model, path, (2600, 4001))


@pytest.mark.slow
@pytest.mark.parametrize(("precision", "most"), [("float16", 1e-2), ("int8", 0.3)])
def test_fewer_bits_are_near_and_finite(precision, most, tmp_path):
    model, path = exported("fb-tiny", tmp_path, precision)
    mixture = 0.1 * torch.randn(2, 2, 4000)
    mixture[1] = 0
    with torch.inference_mode():
        made, expected = load_onnx(path)(mixture), model(mixture)
    assert made.isfinite().all()
    assert (made - expected).square().mean().sqrt() < most * expected.square().mean().sqrt()


def test_a_program_that_gives_other_numbers_is_refused():
    core = exportable_core(build_model("fb-tiny", **TINY["fb-tiny"]))
    with pytest.raises(ConfigError, match="no finite numbers in int8"):
        check_program(core, lambda features: core.module(features) / features.square().sum(), "int8")
    with pytest.raises(ConfigError, match="other numbers"):
        check_program(core, lambda features: 1.001 * core.module(features), "float32")
    guarded = {core.example.shape: core.module}
    with pytest.raises(ConfigError, match="sizes of its example only"):
        check_program(core, lambda features: guarded[features.shape](features), "float32")
    check_program(core, core.module, "float32")


@pytest.mark.parametrize("name", sorted(name for name in PRESETS if any(part in name for part in REFUSED)))
def test_what_does_not_export_is_refused_with_the_reason(name):
    reason = next(text for part, text in REFUSED.items() if part in name)
    with pytest.raises(ConfigError, match=reason):
        exportable_core(build_model(name, **TINY[name]))


@pytest.mark.parametrize("layer", [MambaConfig(), StateSpaceConfig()])
@pytest.mark.parametrize("name", ["fb-tiny", "dprnn"])
def test_a_loop_over_frames_is_refused_and_not_exported_for_one_length(name, layer):
    config = config_of(build_model(name, **TINY[name]))
    if isinstance(config, DPRNNConfig):
        config = replace(config, sequence=layer)
    else:
        config = replace(config, separator=replace(config.separator, sequence=layer))
    with pytest.raises(ConfigError, match="neither form can loop over"):
        exportable_core(build_model(config))


def test_mamba_in_s4m_is_refused_too():
    with pytest.raises(ConfigError, match="Mamba reads one frame after the other"):
        exportable_core(build_model("s4m-tiny", **TINY["s4m-tiny"] | {"coarsest": "mamba"}))


def with_post_filter(name, **changes):
    separator, post_filter = (
        config_of(build_model(name, **TINY[name])),
        TINY["s4m-tiny-post-filter"]["super_resolution"],
    )
    return build_model(WithSuperResolutionConfig(separator=separator, super_resolution=post_filter, **changes))


def test_sfc_with_a_post_filter_exports_whole(tmp_path):
    """Silence is added to what is shorter than half a window."""
    model = with_post_filter("fb-tiny")
    path = export_program(model, tmp_path / "model.onnx", "onnx", name="tiny")
    assert_same(model, path, lengths=(33, 1700, 4001))
    mixture = 0.1 * torch.randn(1, 2, 20)
    with torch.inference_mode():
        assert torch.allclose(load_onnx(path)(mixture), model(F.pad(mixture, (0, 13)))[..., :20], atol=1e-5)


def test_both_polarities_export(tmp_path):
    assert_same(
        model := with_post_filter("fb-tiny", both_polarities=True),
        export_program(model, tmp_path / "model.onnx", "onnx", name="tiny"),
    )


def test_loops_below_and_in_a_post_filter_are_refused():
    with pytest.raises(ConfigError, match="reads more than a thousand bins"):
        exportable_core(with_post_filter("sfc-mamba-small"))
    config = config_of(with_post_filter("fb-tiny"))
    network = replace(config.super_resolution.network, sequence=MambaConfig())
    config = replace(config, super_resolution=replace(config.super_resolution, network=network))
    with pytest.raises(ConfigError, match="Mamba reads one frame after the other"):
        exportable_core(build_model(config))


def test_a_post_filter_on_another_separator_is_refused():
    with pytest.raises(ConfigError, match="MTFA with a post-filter does not export"):
        exportable_core(with_post_filter("mtfa"))


def test_relative_positions_are_refused():
    config = config_of(build_model("mtfa", **TINY["mtfa"]))
    config = replace(config, attention=replace(config.attention, positions="relative"))
    with pytest.raises(ConfigError, match="relative positions becomes a program for one length"):
        exportable_core(build_model(config))


def test_wrong_files_and_endings_are_refused(tmp_path):
    model = build_model("fb-tiny", **TINY["fb-tiny"])
    with pytest.raises(ConfigError, match=r"\.onnx"):
        export_program(model, tmp_path / "model.pt2", "onnx", name="tiny")
    damaged = tmp_path / "damaged.onnx"
    damaged.write_bytes(b"no model")
    with pytest.raises(WeightsError, match="no ONNX file"):
        load_onnx(damaged)
    with pytest.raises(ConfigError, match="name or file"):
        Separator(model, device="cpu", backend="onnxruntime")


@pytest.mark.parametrize("shape", [None, (1,), (1, 5, 3), (2, 3, 4, 5, 6)])
def test_the_header_of_one_model_with_the_program_of_another_is_refused(tiny, tmp_path, shape):
    _, _, path = tiny
    ours = onnx.load(path)
    features = onnx.helper.make_tensor_value_info("features", onnx.TensorProto.FLOAT, None)
    estimates = onnx.helper.make_tensor_value_info("estimates", onnx.TensorProto.FLOAT, None)
    if shape is None:
        nodes = [onnx.helper.make_node("Identity", ["features"], ["estimates"])]
    else:
        value = onnx.numpy_helper.from_array(np.zeros(shape, np.float32))
        nodes = [onnx.helper.make_node("Constant", [], ["estimates"], value=value)]
    graph = onnx.helper.make_graph(nodes, "other", [features], [estimates])
    other = onnx.helper.make_model(graph, opset_imports=ours.opset_import, ir_version=ours.ir_version)
    other.metadata_props.extend(ours.metadata_props)
    onnx.save(other, tmp_path / "other.onnx")
    with pytest.raises(WeightsError, match="no ONNX file that runs here"):
        load_onnx(tmp_path / "other.onnx")


@pytest.mark.parametrize(("frames", "pooled"), [(12, 3), (13, 4), (100, 7), (5, 5)])
def test_pooling_without_a_loop_is_pooling(frames, pooled):
    features = torch.randn(2, frames, 3)
    assert torch.allclose(_pool_by_running_sum(features, pooled), pool_average(features, pooled), atol=1e-6)


@pytest.mark.parametrize("directions", [1, 2])
@pytest.mark.parametrize("frames", [1, 2, 9])
def test_direct_convolution_is_that_by_fft(directions, frames):
    features, kernel = torch.randn(2, frames, 3), torch.randn(directions, 3, frames)
    assert torch.allclose(convolve_directly(features, kernel), convolve(features, kernel), atol=1e-5)


@pytest.mark.slow
def test_more_frames_than_were_stored_are_refused(tmp_path):
    model, path = exported("s4m-tiny", tmp_path, chunk_seconds=0.5)
    with pytest.raises(SignalError, match="at most"):
        load_onnx(path)(torch.randn(1, 1, 3 * model.spec.sample_rate))

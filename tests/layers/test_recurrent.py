"""Recurrent layers in exported programs."""

import io
import warnings

import pytest
import torch

from unbraid.layers.kernels import onednn
from unbraid.layers.recurrent import Recurrent, RecurrentConfig
from unbraid.models.packaged.pieces import in_pieces
from unbraid.weights.recurrent_programs import with_pytorch_layers

pytestmark = pytest.mark.usefixtures("symbolic_sizes")


@pytest.mark.parametrize("bidirectional", [True, False])
@pytest.mark.parametrize("kind", ["gru", "lstm"])
def test_a_program_takes_any_number_of_frames_and_is_pytorchs_alone(kind, bidirectional):
    layer = Recurrent(4, RecurrentConfig(kind=kind, hidden_dim=3, bidirectional=bidirectional)).eval()
    example, other = torch.randn(2, 7, 4), torch.randn(3, 19, 4)
    free = ({axis: torch.export.Dim.AUTO for axis in (0, 1)},)
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("error")  # PyTorch warns of lists of weights that it puts others in
        program = torch.export.export(layer, (example,), dynamic_shapes=free, strict=False)
        stored = io.BytesIO()
        torch.export.save(with_pytorch_layers(program), stored)
    assert b"unbraid::" not in stored.getvalue()
    stored.seek(0)
    again = torch.export.load(stored).module()
    with torch.inference_mode():
        assert torch.allclose(again(other), layer(other), atol=1e-6)


@pytest.mark.parametrize("supported", [True, False])
def test_without_instructions_for_bfloat16_states_are_float32(monkeypatch, supported):
    """oneDNN has no LSTM in bfloat16 there, and says so by an error."""
    if supported and not onednn.cpu_has_bfloat16():
        pytest.skip("this processor has no bfloat16")
    monkeypatch.setattr(onednn, "cpu_has_bfloat16", lambda: supported)
    layer, features = Recurrent(4, RecurrentConfig(kind="lstm", hidden_dim=3)), torch.randn(2, 7, 4)
    heard = []
    layer.out.register_forward_pre_hook(lambda _, given: heard.append(given[0]))
    with torch.no_grad():
        exact = layer(features)
        with torch.autocast("cpu", torch.bfloat16):
            rough = layer(features)
    assert torch.equal(heard[1], heard[0]) is not supported
    assert torch.allclose(rough.float(), exact, atol=2e-2)
    with torch.autocast("cpu", torch.bfloat16):
        layer(features).float().sum().backward()
    assert all(weight.grad is not None and weight.grad.isfinite().all() for weight in layer.parameters())


@pytest.mark.parametrize("supported", [True, False])
def test_so_are_the_networks_of_other_packages(monkeypatch, supported):
    monkeypatch.setattr(onednn, "cpu_has_bfloat16", lambda: supported)
    kinds = []

    def network(mixture):
        kinds.append((mixture @ mixture.mT).dtype)
        return torch.stack([mixture, mixture], dim=1)

    with torch.autocast("cpu", torch.bfloat16):
        in_pieces(network, torch.randn(1, 2, 50), 40)
    assert set(kinds) == {torch.bfloat16 if supported else torch.float32}

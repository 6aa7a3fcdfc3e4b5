"""Recurrent layers in exported programs."""

import io
import warnings

import pytest
import torch

from unbraid.layers.recurrent import Recurrent, RecurrentConfig
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

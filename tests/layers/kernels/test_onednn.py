"""oneDNN's matrix product is PyTorch's, with all gradients, where it is taken."""

import pytest
import torch
from torch.nn import functional as F

from unbraid.layers.kernels import onednn
from unbraid.layers.linear import Linear


@pytest.fixture
def chosen(monkeypatch):
    if not hasattr(torch.ops.mkldnn, "_linear_pointwise"):
        pytest.skip("this PyTorch has no oneDNN")
    monkeypatch.setattr(onednn, "onednn_is_faster", lambda: True)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("shape", [(7,), (3, 5, 7), (2, 3, 4, 7), (0, 7)])
def test_the_fast_way_gives_the_same_gradients(chosen, shape, bias):
    layer, features = Linear(7, 4, bias=bias), torch.randn(shape, requires_grad=True)
    weight = torch.randn(*shape[:-1], 4)
    tensors = [features, *layer.parameters()]
    ours = torch.autograd.grad((layer(features) * weight).sum(), tensors)
    theirs = torch.autograd.grad((F.linear(features, layer.weight, layer.bias) * weight).sum(), tensors)
    for one, other in zip(ours, theirs, strict=True):
        assert torch.allclose(one, other, atol=1e-5)


def test_sequences_that_lie_crosswise_in_memory_are_read_rightly(chosen):
    layer, features = Linear(6, 5), torch.randn(6, 9, 4).permute(2, 1, 0).requires_grad_()
    out = layer(features)
    assert torch.allclose(out, F.linear(features, layer.weight, layer.bias), atol=1e-6)
    out.transpose(0, 1).square().sum().backward()
    expected = torch.autograd.grad(
        F.linear(features, layer.weight, layer.bias).square().sum(), [layer.weight, features]
    )
    assert torch.allclose(layer.weight.grad, expected[0], atol=1e-4)


def test_frozen_weights_get_no_gradient(chosen):
    layer, features = Linear(6, 5).requires_grad_(False), torch.randn(2, 6, requires_grad=True)
    layer(features).sum().backward()
    assert layer.weight.grad is None
    assert torch.allclose(features.grad, layer.weight.sum(0).expand(2, -1), atol=1e-6)


@pytest.mark.parametrize("shape", [(1, 6), (2, 1, 6), (3, 4, 6)])
def test_gradients_that_repeat_in_memory_are_taken(chosen, shape):
    layer, features = Linear(6, 5), torch.randn(shape, requires_grad=True)
    layer(features).sum().backward()
    assert torch.allclose(features.grad, layer.weight.sum(0).expand(shape), atol=1e-6)
    assert torch.allclose(layer.weight.grad, features.detach().flatten(0, -2).sum(0).expand(5, -1), atol=1e-5)


@pytest.mark.usefixtures("symbolic_sizes")
def test_exported_it_takes_one_row_of_what_lies_crosswise():
    """PyTorch's own asks whether there are more rows than one, and a program that saw two would then refuse one."""

    class Crosswise(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = Linear(6, 5)

        def forward(self, features):
            return self.layer(features.transpose(1, 2))

    free = ({0: torch.export.Dim.AUTO, 2: torch.export.Dim.AUTO},)
    layer = Crosswise()
    with torch.no_grad():
        program = torch.export.export(layer, (torch.randn(2, 6, 9),), dynamic_shapes=free, strict=False).module()
        for rows in (1, 3):
            features = torch.randn(rows, 6, 7)
            assert torch.allclose(program(features), layer(features), atol=1e-6)

"""The state-space layers: closed forms, recurrence against convolution, and the published layer's outputs."""

import pytest
import torch

from unbraid.errors import ConfigError
from unbraid.layers.state_space import (
    StateSpaceConfig,
    StateSpaceLayer,
    convolve,
    hippo_legs,
    powers,
)
from unbraid.weights.adapters import s4m_authors

KINDS = ["s4", "s4d-legs", "s4d-lin", "s4d-inv", "s4d-real"]


def causal(kind="s4", dim=6):
    return StateSpaceLayer(dim, StateSpaceConfig(kind=kind, bidirectional=False)).double()


def test_the_published_eigenvalues():
    eigenvalues, _, _ = hippo_legs(16)
    assert torch.allclose(eigenvalues.real, torch.full((8,), -0.5, dtype=torch.float64), atol=0)
    expected = [-80.966, -25.629, -13.834, -8.362, -5.090, -2.900, -1.372, -0.352]
    assert torch.allclose(eigenvalues.imag, torch.tensor(expected, dtype=torch.float64), atol=6e-4)


def test_the_kernel_is_that_of_the_dense_hippo_system():
    """Against the textbook: the bilinear rule on the dense real LegS matrix, solved without any structure."""
    layer = causal(dim=1)
    system = layer.system
    eigenvalues, low_rank, drive = hippo_legs(16)
    # The parameters are kept in float32; with the exact ones in place, only rounding may differ.
    with torch.no_grad():
        system.frequency.copy_(eigenvalues.imag)
        system.log_decay.copy_(torch.log(-eigenvalues.real))
        system.low_rank_parts.copy_(torch.view_as_real(low_rank))
        system.drive_parts.copy_(torch.view_as_real(drive))
    n = torch.arange(16, dtype=torch.float64)
    roots = torch.sqrt(2 * n + 1)
    dense = -torch.tril(torch.outer(roots, roots), -1) - torch.diag(n + 1)
    normal = dense + torch.outer(torch.sqrt(n + 0.5), torch.sqrt(n + 0.5))
    _, basis = torch.linalg.eigh(-1j * (normal + 0.5 * torch.eye(16, dtype=torch.float64)).to(torch.complex128))
    half = torch.view_as_complex(system.readout_parts[0, 0].detach().contiguous())
    readout = 2 * (half @ basis[:, :8].conj().T).real
    step = system.log_step.detach().exp()[0]
    identity = torch.eye(16, dtype=torch.float64)
    left = torch.linalg.inv(identity - step / 2 * dense)
    transition, drive = left @ (identity + step / 2 * dense), step * (left @ roots)
    expected, state = [], drive
    for _ in range(101):
        expected.append(readout @ state)
        state = transition @ state
    assert torch.allclose(layer.kernel(101)[0, 0], torch.stack(expected), atol=1e-12)


def test_it_reproduces_the_published_layer(golden):
    file = golden("s4_layer_a")
    layer = StateSpaceLayer(8, StateSpaceConfig())
    weights = {key.removeprefix("weights/"): value for key, value in file.items() if key.startswith("weights/")}
    layer.load_state_dict(s4m_authors.convert_layer(weights))
    with torch.inference_mode():
        for length, suffix in ((100, ""), (101, "_L101")):
            assert (layer.kernel(length) - file[f"kernel{suffix}"]).abs().max() < 1e-5
            output = layer(file[f"input{suffix}"].transpose(1, 2)).transpose(1, 2)
            assert (output - file[f"output{suffix}"]).abs().max() < 2e-5


@pytest.mark.parametrize("kind", KINDS)
def test_convolution_equals_recurrence(kind):
    layer, features = causal(kind), torch.randn(2, 50, 6, dtype=torch.float64)
    state, outputs = layer.initial_state(2), []
    for frame in features.unbind(1):
        output, state = layer.step(frame, state)
        outputs.append(output)
    assert torch.allclose(torch.stack(outputs, 1), layer(features), atol=1e-11)


@pytest.mark.parametrize("kind", ["s4", "s4d-lin"])
def test_convolution_equals_recurrence_in_float32(kind):
    layer, features = causal(kind).float(), torch.randn(2, 300, 6)
    state, outputs = layer.initial_state(2), []
    for frame in features.unbind(1):
        output, state = layer.step(frame, state)
        outputs.append(output)
    assert torch.allclose(torch.stack(outputs, 1), layer(features), atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_chunks_with_carried_state_equal_the_whole(kind):
    layer, features = causal(kind), torch.randn(2, 57, 6, dtype=torch.float64)
    state, outputs = layer.initial_state(2), []
    for part in features.split([1, 20, 7, 29], dim=1):
        output, state = layer.forward_chunk(part, state)
        outputs.append(output)
    assert torch.allclose(torch.cat(outputs, 1), layer(features), atol=1e-11)


def test_the_causal_layer_does_not_see_the_future():
    layer, features = causal(), torch.randn(1, 40, 6, dtype=torch.float64)
    assert torch.allclose(layer(features)[:, :25], layer(features[:, :25]), atol=1e-12)


def test_the_two_sided_sum_is_the_double_loop():
    features, kernel = torch.randn(1, 13, 2, dtype=torch.float64), torch.randn(2, 2, 13, dtype=torch.float64)
    expected = torch.zeros_like(features)
    for t in range(13):
        for s in range(13):
            tap = kernel[0, :, t - s] if s <= t else kernel[1, :, s - t - 1]
            expected[:, t] += tap * features[:, s]
    assert torch.allclose(convolve(features, kernel), expected, atol=1e-12)


@pytest.mark.parametrize("length", [1, 2, 3, 8, 13])
def test_powers_by_doubling(length):
    transition, start = torch.randn(3, 4, 4, dtype=torch.float64) / 2, torch.randn(3, 4, dtype=torch.float64)
    expected = torch.stack(
        [(torch.linalg.matrix_power(transition, lag) @ start[..., None]).squeeze(-1) for lag in range(length)], -1
    )
    assert torch.allclose(powers(transition, start, length), expected)


def test_a_bidirectional_layer_refuses_to_step():
    layer = StateSpaceLayer(4, StateSpaceConfig())
    with pytest.raises(ValueError, match="bidirectional=False"):
        layer.step(torch.zeros(1, 4), layer.initial_state(1))


def test_the_parameter_count_of_the_specification():
    two, one = (
        sum(p.numel() for p in StateSpaceLayer(512, StateSpaceConfig(bidirectional=both)).parameters())
        for both in (True, False)
    )
    assert (two, one) == (567_296, 559_104)


def test_an_odd_state_is_refused():
    with pytest.raises(ConfigError, match="even"):
        StateSpaceConfig(state_dim=3)


def test_kernels_are_exact_whatever_products_of_float32_are_rounded_to(monkeypatch):
    """As on a GPU in training, where such a product keeps ten bits of every number."""
    layer = StateSpaceLayer(4, StateSpaceConfig())
    exact = StateSpaceLayer(4, StateSpaceConfig()).double()
    exact.load_state_dict({name: tensor.double() for name, tensor in layer.state_dict().items()})
    products, einsum = torch.Tensor.__matmul__, torch.einsum

    def rounded(tensor):
        return (tensor.view(torch.int32) & ~0x1FFF).view(torch.float32) if tensor.dtype == torch.float32 else tensor

    monkeypatch.setattr(torch.Tensor, "__matmul__", lambda one, other: products(rounded(one), rounded(other)))
    monkeypatch.setattr(torch, "einsum", lambda how, *parts: einsum(how, *(rounded(part) for part in parts)))
    with torch.no_grad():
        assert torch.allclose(layer.kernel(3000).double(), exact.kernel(3000), rtol=0, atol=3e-5)

"""Groups of parameters, and largest batches."""

from dataclasses import replace

import pytest
import torch

from tests.training.tiny import CONFIG
from unbraid.errors import ConfigError, DeviceError
from unbraid.layers.mamba import Mamba, SelectiveSystem
from unbraid.layers.state_space import StateSpace
from unbraid.models.catalog import build_model
from unbraid.separation.device import is_out_of_memory
from unbraid.training import batch_size
from unbraid.training.batch_size import search, smaller_batch
from unbraid.training.config import OptimiserConfig
from unbraid.training.optimisation.optimisers import MuonAndAdam, build_optimiser, parameter_groups


def test_state_space_parameters_are_handled_with_care():
    model = build_model(CONFIG.model)
    rest, careful = parameter_groups(model, OptimiserConfig(learning_rate=5e-3, weight_decay=0.1))
    systems = [module for module in model.modules() if isinstance(module, StateSpace)]
    assert len(careful["params"]) == sum(len(list(system.parameters())) for system in systems)
    assert (careful["lr"], careful["weight_decay"]) == (1e-3, 0.0)
    assert rest["weight_decay"] == 0.1
    assert len(rest["params"]) + len(careful["params"]) == len(list(model.parameters()))


def test_so_is_the_system_of_mamba():
    model = Mamba(8)
    _, careful = parameter_groups(model, OptimiserConfig(weight_decay=0.1))
    (system,) = [module for module in model.modules() if isinstance(module, SelectiveSystem)]
    assert {id(parameter) for parameter in careful["params"]} == {id(parameter) for parameter in system.parameters()}


def test_without_a_rate_of_their_own_they_are_like_all_others():
    model = build_model(CONFIG.model)
    config = OptimiserConfig(name="adamw", weight_decay=1e-2, state_space_learning_rate=None)
    optimiser = build_optimiser(model, config)
    assert isinstance(optimiser, torch.optim.AdamW)
    (group,) = optimiser.param_groups
    assert (group["weight_decay"], group["lr"]) == (1e-2, 1e-3)


def test_frozen_parameters_are_left_out_and_something_has_to_learn():
    model = torch.nn.Linear(2, 2)
    model.bias.requires_grad_(False)
    (group,) = parameter_groups(model, OptimiserConfig())
    assert group["params"] == [model.weight]
    model.weight.requires_grad_(False)
    with pytest.raises(ConfigError, match="nothing is left"):
        parameter_groups(model, OptimiserConfig())


@pytest.mark.parametrize("capacity", [0, 1, 2, 3, 7, 8, 20, 100, 1023, 5000])
def test_the_largest_batch_is_found_to_an_eighth(capacity):
    asked = []

    def fits(count):
        asked.append(count)
        return count <= capacity

    found = search(fits, largest=1024)
    best = min(capacity, 1024)
    assert found <= best
    assert found >= best - max(best // 8, 0) - (best > 8)
    assert len(asked) < 20


@pytest.mark.parametrize(
    ("capacity", "error"),
    [
        (1, torch.OutOfMemoryError("CUDA out of memory")),
        (5, RuntimeError("[enforce fail at alloc_cpu.cpp:117] . DefaultCPUAllocator: can't allocate memory")),
        (12, MemoryError()),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_run_finds_its_largest_batch(capacity, error, corpus_root, monkeypatch):
    build = batch_size.build_model

    def short_of_memory(config):
        model = build(config)

        def check(module, inputs):
            if len(inputs[0]) > capacity:
                raise error

        model.register_forward_pre_hook(check)
        return model

    monkeypatch.setattr(batch_size, "build_model", short_of_memory)
    config = replace(CONFIG, batch_size="auto")
    assert batch_size.largest_batch(config, corpus_root, torch.device("cpu")) == capacity


def test_where_not_even_one_fits_it_is_a_sentence(corpus_root, monkeypatch):
    monkeypatch.setattr(batch_size, "search", lambda fits: 0)
    with pytest.raises(DeviceError, match="smaller model"):
        batch_size.largest_batch(CONFIG, corpus_root, torch.device("cpu"))


def test_where_memory_runs_out_the_same_examples_come_in_smaller_batches():
    smaller = smaller_batch(replace(CONFIG, batch_size=6, accumulate=2))
    assert smaller is not None
    assert (smaller.batch_size, smaller.accumulate) == (3, 4)
    smaller = smaller_batch(smaller)
    assert smaller is not None
    assert (smaller.batch_size, smaller.accumulate) == (1, 12)
    assert smaller_batch(smaller) is None


def test_what_running_out_of_memory_looks_like():
    assert is_out_of_memory(torch.OutOfMemoryError("CUDA out of memory"))
    assert is_out_of_memory(RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory"))
    assert not is_out_of_memory(RuntimeError("shapes do not fit"))
    assert not is_out_of_memory(ValueError("out of memory"))


def test_amsgrad_reaches_the_optimiser():
    model = torch.nn.Linear(2, 2)
    assert build_optimiser(model, OptimiserConfig(amsgrad=True)).param_groups[0]["amsgrad"]
    assert not build_optimiser(model, OptimiserConfig()).param_groups[0]["amsgrad"]


def test_muon_takes_matrices_and_adam_the_rest():
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Linear(4, 2))
    config = OptimiserConfig(name="muon", learning_rate=1e-3, matrix_learning_rate=1e-2, state_space_learning_rate=None)
    optimiser, before = build_optimiser(model, config), [one.detach().clone() for one in model.parameters()]
    for parameter in model.parameters():
        parameter.grad = torch.randn_like(parameter)
    optimiser.step()
    moved = [one.detach() - old for one, old in zip(model.parameters(), before, strict=True)]
    # Muon: an orthogonal matrix times 0.2 x rate x the root of its longer side; Adam: its first step is sign x rate.
    scale = 0.2 * 1e-2 * 4**0.5
    for weight in (moved[0], moved[2]):
        values = torch.linalg.svdvals(weight)
        assert (values > 0.6 * scale).all()
        assert (values < 1.3 * scale).all()
    for bias in (moved[1], moved[3]):
        assert torch.allclose(bias.abs(), torch.full_like(bias, 1e-3), rtol=1e-3)


@pytest.mark.parametrize("sizes", [(12, 20), (20, 12)])
def test_matrices_step_as_by_the_muon_of_torch(sizes):
    """Which makes them orthogonal in bfloat16."""
    torch.manual_seed(0)
    ours, theirs = torch.nn.Linear(*sizes, bias=False), torch.nn.Linear(*sizes, bias=False)
    theirs.load_state_dict(ours.state_dict())
    config = OptimiserConfig(name="muon", matrix_learning_rate=1e-2, weight_decay=0.1, state_space_learning_rate=None)
    reference = torch.optim.Muon(theirs.parameters(), lr=1e-2, weight_decay=0.1, adjust_lr_fn="match_rms_adamw")
    optimiser, before = build_optimiser(ours, config), ours.weight.detach().clone()
    for _ in range(5):
        ours.weight.grad = torch.randn_like(ours.weight)
        theirs.weight.grad = ours.weight.grad.clone()
        optimiser.step()
        reference.step()
    moved = (theirs.weight - before).norm()
    assert (ours.weight - theirs.weight).norm() < 0.02 * moved


def test_muon_and_its_adam_shrink_weights_apart_from_the_gradient():
    model = torch.nn.Linear(3, 4)
    config = OptimiserConfig(name="muon", learning_rate=1e-2, matrix_learning_rate=1e-2, weight_decay=0.5)
    optimiser, before = build_optimiser(model, config), [one.detach().clone() for one in model.parameters()]
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimiser.step()
    for parameter, old in zip(model.parameters(), before, strict=True):
        assert torch.allclose(parameter, old * (1 - 1e-2 * 0.5), rtol=1e-5)


def test_muon_takes_kernels_of_convolutions_as_matrices():
    torch.manual_seed(0)
    dense, depthwise = torch.nn.Conv1d(3, 4, 5), torch.nn.Conv1d(4, 4, 3, groups=4)
    model = torch.nn.Sequential(dense, depthwise)
    config = OptimiserConfig(name="muon", matrix_learning_rate=1e-2, state_space_learning_rate=None)
    assert not any(group["matrix"] for group in parameter_groups(model, config))
    optimiser = build_optimiser(model, replace(config, matrix_kernels=True))
    before = dense.weight.detach().clone()
    model(torch.randn(2, 3, 16)).square().sum().backward()
    optimiser.step()
    values = torch.linalg.svdvals((dense.weight.detach() - before).flatten(1))
    scale = 0.2 * 1e-2 * 15**0.5
    assert (values > 0.6 * scale).all()
    assert (values < 1.3 * scale).all()
    state = optimiser.state_dict()
    again = build_optimiser(model, replace(config, matrix_kernels=True))
    again.load_state_dict(state)
    kept = again.state[dense.weight]["momentum_buffer"]
    assert torch.equal(kept, optimiser.state[dense.weight]["momentum_buffer"])
    again.step()
    assert torch.isfinite(dense.weight).all()


def test_muon_goes_on_from_its_state_as_if_it_had_not_stopped():
    def run(optimiser, model, steps):
        for step in steps:
            torch.manual_seed(step)
            optimiser.zero_grad()
            model(torch.randn(5, 3)).square().sum().backward()
            optimiser.step()

    config = OptimiserConfig(name="muon")
    torch.manual_seed(0)
    whole = torch.nn.Linear(3, 4)
    halves = torch.nn.Linear(3, 4)
    halves.load_state_dict(whole.state_dict())
    run(build_optimiser(whole, config), whole, range(6))
    first = build_optimiser(halves, config)
    run(first, halves, range(3))
    second = build_optimiser(halves, config)
    second.load_state_dict(first.state_dict())
    assert isinstance(second, MuonAndAdam)
    run(second, halves, range(3, 6))
    assert torch.equal(whole.weight, halves.weight)


def test_muon_takes_the_state_of_earlier_runs():
    """Whose momentum had another name, beside a step that Muon does not count."""
    model, config = torch.nn.Linear(3, 4), OptimiserConfig(name="muon")
    optimiser = build_optimiser(model, config)
    model(torch.randn(5, 3)).square().sum().backward()
    optimiser.step()
    now = optimiser.state_dict()
    place = next(group["params"][0] for group in now["param_groups"] if group["matrix"])
    earlier = {
        "state": now["state"]
        | {place: {"momentum": now["state"][place]["momentum_buffer"].clone(), "step": torch.zeros(())}},
        "param_groups": [
            {**group, **{"lr": group["lr"], "betas": (0.9, 0.999), "eps": 1e-8}}
            if not group["matrix"]
            else {
                "params": group["params"],
                "matrix": True,
                "lr": 0.02,
                "weight_decay": 0.0,
                "eps": 1e-8,
                "initial_lr": 1,
            }
            for group in now["param_groups"]
        ],
    }
    again = build_optimiser(model, config)
    again.load_state_dict(earlier)
    (matrices,) = [group for group in again.param_groups if group["matrix"]]
    assert matrices["lr"] == 0.02
    assert torch.equal(again.state[model.weight]["momentum_buffer"], optimiser.state[model.weight]["momentum_buffer"])
    again.step()


def test_muon_runs_the_closure_once_with_gradients():
    model, calls = torch.nn.Linear(3, 4), []

    def closure():
        calls.append(torch.is_grad_enabled())
        loss = model(torch.ones(1, 3)).square().sum()
        loss.backward()
        return loss

    before = model.bias.detach().clone()
    assert build_optimiser(model, OptimiserConfig(name="muon")).step(closure) > 0
    assert calls == [True]
    assert not torch.equal(model.bias, before)


def test_state_space_systems_stay_with_adam_under_muon():
    model = build_model(CONFIG.model)
    groups = parameter_groups(model, OptimiserConfig(name="muon"))
    assert [group["matrix"] for group in groups] == [False, False, True]
    assert all(parameter.ndim == 2 for parameter in groups[2]["params"])
    assert sum(len(group["params"]) for group in groups) == len(list(model.parameters()))

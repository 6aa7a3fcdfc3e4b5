"""Stems that do not depend on threads and batch sizes, and what happens to a model that cannot give them."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tests.conftest import TINY
from tests.separation.test_separator import Shares, noise
from unbraid import Separator, build_model
from unbraid.errors import DeviceError
from unbraid.separation.device import deterministic_steps


class Watched(Shares):
    """Notes what it is asked with."""

    def forward(self, mixture):
        self.seen = (torch.get_num_threads(), torch.are_deterministic_algorithms_enabled(), len(mixture))
        return super().forward(mixture)


@pytest.fixture(autouse=True)
def _two_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("preset", ["s4m-tiny", "resunet", "sfc-ca-small"])
def test_deterministic_stems_are_the_same_bytes_whatever_threads_and_batch_size(preset: str):
    model, mixture = build_model(preset, **TINY[preset]), noise(2, 40_000)
    mixture[1, :20_000] = mixture[0, :20_000]
    given = set()
    for threads, batch_size in ((1, 1), (1, 3), (2, 1), (2, 5)):
        torch.set_num_threads(threads)
        separator = Separator(
            model, device="cpu", segment_seconds=0.5, batch_size=batch_size, shifts=2, deterministic=True
        )
        given.add(b"".join(stem.samples.tobytes() for stem in separator.separate(mixture, 8000).values()))
    assert len(given) == 1


def test_a_deterministic_model_is_asked_by_one_thread_and_the_process_is_as_before_between_steps():
    model = Watched()
    for _ in Separator(model, deterministic=True, batch_size=4).stream(noise(3, 30_000), 8000):
        assert torch.get_num_threads() == 2
        assert not torch.are_deterministic_algorithms_enabled()
    assert model.seen == (1, True, 1)
    for _ in Separator(model).stream(noise(1, 8_000), 8000):
        pass
    assert model.seen == (2, False, 1)


def test_ending_early_and_errors_restore_the_process_and_end_the_steps():
    ended = []

    def steps():
        try:
            yield torch.get_num_threads()
            raise ValueError
        finally:
            ended.append(True)

    early = deterministic_steps(steps())
    assert next(early) == 1
    early.close()
    with pytest.raises(ValueError, match=r"^$"):
        list(deterministic_steps(steps()))
    assert ended == [True, True]
    assert torch.get_num_threads() == 2


def test_a_model_without_a_deterministic_form_is_one_sentence():
    class Random(Shares):
        def forward(self, mixture):
            raise RuntimeError("put_ does not have a deterministic implementation, but you set ...")

    with pytest.raises(DeviceError, match=r"no deterministic form on cpu: choose .*or leave `deterministic` off"):
        Separator(Random(), deterministic=True).separate(noise(1, 800), 8000)


class FirstLouder(Shares):
    """A stereo model that treats its channels differently, so that equal channels are told from unequal ones."""

    def __init__(self):
        super().__init__(num_channels=2)

    def forward(self, mixture):
        return super().forward(mixture) * torch.tensor([1.5, 0.5]).view(1, 1, 2, 1)


def test_equal_channels_count_chunk_by_chunk_whatever_is_in_the_batch_beside_them():
    mixture = noise(2, 40_000)
    mixture[1, :20_000] = mixture[0, :20_000]
    one, four = (
        np.stack([stem.samples for stem in Separator(FirstLouder(), batch_size=size).separate(mixture, 8000).values()])
        for size in (1, 4)
    )
    assert np.abs(one - four).max() < 1e-6
    assert np.abs(one[:, 0, :10_000] - one[:, 1, :10_000]).max() < 1e-6

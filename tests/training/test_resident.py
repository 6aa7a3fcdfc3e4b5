"""Runs whose examples are drawn on the device, and runs that decode their data once."""

from dataclasses import replace

import pytest
import torch

from tests.training.tiny import CONFIG, checkpoint
from unbraid.training import run_examples
from unbraid.training.fit import fit

SHORT = replace(CONFIG, steps=4, save_every=2, validation=replace(CONFIG.validation, every=2, items=1))


@pytest.mark.parametrize("resident", [False, True])
def test_a_run_looks_each_split_through_once_whatever_the_validations(resident, corpus_root, tmp_path, monkeypatch):
    looked_through = []

    def counted(build):
        return lambda dataset, *given: looked_through.append(dataset) or build(dataset, *given)

    for name in ("build_drawer", "build_resident_drawer"):
        monkeypatch.setattr(run_examples, name, counted(getattr(run_examples, name)))
    assert fit(replace(SHORT, resident=resident), corpus_root, tmp_path / "run").is_file()
    # On a device the validation's mixtures are drawn from there as well, from sounds of their own split.
    assert [id(dataset) for dataset in looked_through] == [*{id(dataset): None for dataset in looked_through}]
    assert len(looked_through) == (2 if resident else 1)


def test_a_resident_run_resumes_to_the_bit(corpus_root, tmp_path):
    config = replace(SHORT, resident=True)
    fit(config, corpus_root, tmp_path / "whole")
    fit(replace(config, steps=2), corpus_root, tmp_path / "halves")
    fit(config, corpus_root, tmp_path / "halves", resume=True)
    whole, halves = checkpoint(tmp_path / "whole")["state_dict"], checkpoint(tmp_path / "halves")["state_dict"]
    assert all(torch.equal(whole[name], halves[name]) for name in whole)

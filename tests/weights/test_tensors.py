"""PyTorch files of others: nothing in them is unpacked, and nothing stands for more than is stored."""

import io
import os
import tarfile
import zipfile

import pytest
import torch

from unbraid.errors import DataError, WeightsError
from unbraid.training.resuming import check_checkpoint
from unbraid.weights.tensors import read_tensors


def repacked(path, compression):
    content = zipfile.ZipFile(io.BytesIO(path.read_bytes()))
    with zipfile.ZipFile(path, "w", compression) as archive:
        for entry in content.infolist():
            archive.writestr(entry.filename, content.read(entry), compression)


@pytest.mark.parametrize("compression", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2])
def test_compressed_entries_are_refused_before_they_fill_the_memory(tmp_path, compression):
    path = tmp_path / "bomb.pt"
    torch.save({"a": torch.zeros(4_000_000)}, path)
    assert read_tensors(path)["a"].shape == (4_000_000,)
    repacked(path, compression)
    assert path.stat().st_size < 100_000
    with pytest.raises(WeightsError, match="its entries are compressed"):
        read_tensors(path)
    with pytest.raises(DataError, match="is damaged, or no checkpoint"):
        check_checkpoint(path, torch.nn.Identity())


def test_a_tar_of_the_first_versions_is_refused_and_nothing_of_it_written(tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path / "scratch"))
    (tmp_path / "scratch").mkdir()
    path = tmp_path / "old.pt"
    with tarfile.open(path, "w") as archive:
        pipe = tarfile.TarInfo("storages")
        pipe.type = tarfile.FIFOTYPE  # whoever unpacks and opens it waits for ever
        archive.addfile(pipe)
        link = tarfile.TarInfo("../../outside")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc"
        archive.addfile(link)
    with pytest.raises(WeightsError, match="it is a tar archive"):
        read_tensors(path)
    with pytest.raises(DataError, match="is damaged, or no checkpoint"):
        check_checkpoint(path, torch.nn.Identity())
    assert os.listdir(tmp_path / "scratch") == []


def test_a_tensor_that_repeats_one_number_is_refused(tmp_path):
    torch.save({"model": {"a": torch.zeros(1).expand(10**15)}}, tmp_path / "a.pt")
    with pytest.raises(WeightsError, match="holds less than its 'a' claims"):
        read_tensors(tmp_path / "a.pt")


def test_files_of_the_form_before_zip_are_read(tmp_path):
    weights = torch.arange(6.0).reshape(2, 3)
    torch.save({"a": weights, "b": weights[:, :2]}, tmp_path / "a.pt", _use_new_zipfile_serialization=False)
    read = read_tensors(tmp_path / "a.pt")
    assert torch.equal(read["a"], weights)
    assert torch.equal(read["b"], weights[:, :2])

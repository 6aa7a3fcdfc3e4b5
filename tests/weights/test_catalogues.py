"""Catalogues of other packages, read as data from a package that must not be imported."""

import io
import json
import sys

import pytest
import torch
import yaml

from tests.weights.hub_server import Hub
from tests.weights.pymss_networks import SETTINGS, package_network
from unbraid.errors import ConfigError, UnknownNameError
from unbraid.weights.published import catalogues, locate
from unbraid.weights.published.catalogues import find_entry
from unbraid.weights.published.models import catalogue_names, published_entry
from unbraid.weights.published.registry import find_published
from unbraid.weights.store import inspect_model

MODELS = [
    {
        "name": "vocals_kim.ckpt",
        "aliases": ["kim"],
        "model_type": "mel_band_roformer",
        "relpath": "vocal/vocals_kim.ckpt",
        "config_relpath": "vocal/vocals_kim.yaml",
        "size_bytes": 913_000_000,
    },
    {
        "name": "strings.ckpt",
        "model_type": "bs_roformer",
        "relpath": "single/strings.ckpt",
        "config_relpath": "single/strings.yaml",
    },
    {"name": "old.pth", "model_type": "vr", "relpath": "vr/old.pth", "config_relpath": ""},
    {"name": "odd.ckpt", "model_type": ["scnet"], "relpath": "odd.ckpt", "config_relpath": "odd.yaml"},
    {"name": "evil.ckpt", "model_type": "scnet", "relpath": "../../evil.ckpt", "config_relpath": "/etc/passwd"},
]


@pytest.fixture
def packages(tmp_path, monkeypatch):
    """Both packages, whose code would make a file if it ran."""
    bomb = f"open({str(tmp_path / 'bomb')!r}, 'w')\n"
    for package, folder in (("pymss", "resources"), ("bs_roformer", "data")):
        (tmp_path / package / folder).mkdir(parents=True)
        (tmp_path / package / "__init__.py").write_text(bomb)
    (tmp_path / "pymss/resources/model_catalog.json").write_text(json.dumps({"models": MODELS}))
    data = tmp_path / "bs_roformer/data"
    slug = "roformer-model-bs-roformer-sw-by-jarredou"
    model = {"name": "SW by jarredou", "checkpoint": "SW.ckpt", "config": "SW.yaml"}
    places = {
        "checkpoints": {"SW.ckpt": "https://example.org/SW.ckpt"},
        "configs": {"SW.yaml": "https://example.org/c"},
    }
    odd = {"name": "odd", "checkpoint": ["SW.ckpt"], "config": {"SW.yaml": 1}}
    (data / "bs_models.json").write_text(json.dumps({"models": {slug: model, "odd": odd}}))
    (data / "overrides.json").write_text(json.dumps(places))
    (data / "checksums.json").write_text(json.dumps({"files": {"SW.ckpt": {"sha256": "ab" * 32, "size": 7_000_000}}}))
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("PYMSS_MODEL_DIR", str(tmp_path / "kept"))
    monkeypatch.setenv("UNBRAID_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    _forget()
    yield tmp_path
    assert not (tmp_path / "bomb").exists()
    assert not {"pymss", "bs_roformer"} & set(sys.modules)
    _forget()


@pytest.fixture
def no_packages(monkeypatch):
    monkeypatch.setattr(catalogues, "_data_of", lambda package, file: None)
    _forget()
    yield
    _forget()


def _forget():
    catalogues._pymss.cache_clear()
    catalogues._bs_roformer.cache_clear()


@pytest.mark.parametrize("wanted", ["vocals_kim", "vocals_kim.ckpt", "KIM", "als_ki"])
def test_a_model_is_found_by_its_names_or_a_part_of_them(packages, wanted):
    entry = find_entry(f"pymss:{wanted}")
    assert entry.name == "pymss:vocals_kim"
    assert entry.source == ("hf:baicai1145/pymss:vocal/vocals_kim.ckpt",)
    assert entry.size_mb == 913


def test_only_networks_that_are_known_and_places_below_the_repository_are_listed(packages):
    assert catalogue_names() == ["bs-roformer:sw-by-jarredou", "pymss:strings", "pymss:vocals_kim"]


def test_addresses_of_bs_roformer_carry_their_hashes(packages):
    model = find_published("bs-roformer:sw-by-jarredou")
    assert model.source == (f"https://example.org/SW.ckpt#sha256={'ab' * 32}", "https://example.org/c")
    assert model.licence is None


def test_another_name_is_answered_with_what_is_near(packages):
    with pytest.raises(UnknownNameError, match=r"'pymss:string_section' is none of the 2 .* near it are strings"):
        find_entry("pymss:string_section")


def test_such_a_model_is_shown_without_the_network(packages):
    entry = published_entry("pymss:kim")
    assert entry["state"] == "can be downloaded"
    assert entry["licence"] is None


def test_without_the_package_the_hub_is_asked_for_the_name(no_packages):
    assert find_entry("pymss:vocals_kim.ckpt").source == ("hf:baicai1145/pymss:*vocals_kim*",)


def test_without_the_package_bs_roformer_says_how_to_get_its_list(no_packages):
    with pytest.raises(UnknownNameError, match="catalogue of the package bs-roformer-infer, which is not installed"):
        find_entry("bs-roformer:SW")


@pytest.fixture
def vocals(tmp_path):
    """Both files of a tiny vocal RoFormer by their endings."""
    network = package_network("mel_band_roformer", tmp_path)
    weights = io.BytesIO()
    torch.save(network.state_dict(), weights)
    return {"ckpt": weights.getvalue(), "yaml": yaml.dump(SETTINGS["mel_band_roformer"]).encode()}


@pytest.mark.zoo
def test_what_the_package_has_downloaded_is_taken_from_there(packages, vocals):
    (packages / "kept/vocal").mkdir(parents=True)
    for ending, content in vocals.items():
        (packages / f"kept/vocal/vocals_kim.{ending}").write_bytes(content)
    stored = inspect_model("pymss:kim")
    assert stored.spec.sources == ("vocals", "other")
    assert stored.name == "vocals_kim"


@pytest.mark.zoo
def test_a_name_finds_its_files_on_the_hub(no_packages, vocals, tmp_path, monkeypatch):
    hub = Hub()
    files = {f"vocal/vocals_kim.{ending}": content for ending, content in vocals.items()}
    hub.repositories["baicai1145/pymss"] = {**files, "vocal/other.ckpt": b"x", "vocal/other.yaml": b"x"}
    monkeypatch.setenv("HF_ENDPOINT", hub.address)
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setenv("UNBRAID_CACHE", str(tmp_path / "cache"))
    try:
        with pytest.raises(ConfigError, match="state no licence"):
            inspect_model("pymss:vocals_kim")
        assert not hub.requests
        monkeypatch.setattr(locate, "_AGREED", {"pymss:vocals_kim"})
        stored = inspect_model("pymss:vocals_kim")
        assert stored.spec.sources == ("vocals", "other")
        assert stored.facts["licence"] == "none stated"
        assert len(hub.downloads()) == 2
        assert published_entry("pymss:vocals_kim")["state"] == "downloaded"
    finally:
        hub.close()

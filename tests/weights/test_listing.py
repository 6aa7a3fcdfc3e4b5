"""The list of models, which is read from files, against the models themselves."""

import json
import subprocess
import sys

from unbraid.weights.listing import FIGURES, bundled_entry, bundled_models, list_entries, measure_presets
from unbraid.weights.store import inspect_model, load_model


def test_the_figures_of_presets_are_those_of_the_models():
    assert json.loads(FIGURES.read_text()) == measure_presets(), "run  python -m unbraid.weights.listing"


def test_the_figures_of_bundled_models_are_those_of_the_models():
    for name in bundled_models():
        entry, stored = bundled_entry(name), inspect_model(name)
        assert entry["parameters"] == sum(parameter.numel() for parameter in load_model(name).parameters())
        assert (entry["sha256"], tuple(entry["sources"])) == (stored.sha256, stored.spec.sources)
        assert entry["architecture"] == stored.architecture
    assert [entry["name"] for entry in list_entries()["models"]] == bundled_models()


def test_the_list_needs_no_torch():
    program = (
        "import sys; from unbraid.weights.listing import list_entries; list_entries(); print('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, text=True).stdout.strip() == "False"

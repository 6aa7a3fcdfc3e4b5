"""Ray is started only where it is asked for: make test-ray."""

from __future__ import annotations

import pytest


def pytest_collection_modifyitems(config, items):
    if "ray" in (config.getoption("markexpr") or ""):
        return
    for item in items:
        if item.get_closest_marker("ray"):
            item.add_marker(pytest.mark.skip(reason="starts Ray: make test-ray runs it"))

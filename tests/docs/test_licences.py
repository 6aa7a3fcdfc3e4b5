"""Every package that may be installed is pinned, and the page of licences has a line for it."""

from __future__ import annotations

import tomllib
from contextlib import suppress
from email.message import Message
from importlib.metadata import PackageNotFoundError, distribution

from benchmarks.pages.licences import _LINE, PAGE, ROOT, licence_of, names
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name


def test_every_pinned_package_is_on_the_page():
    lines = [name for name, _ in _LINE.findall(PAGE.read_text(encoding="utf-8")) if name != "package"]
    assert lines == names(), "run  python -m benchmarks.pages.licences"


def test_the_newest_field_goes_before_the_others_and_a_whole_text_is_none():
    facts = Message()
    assert licence_of(facts) == "not stated"  # type: ignore[arg-type]
    facts["License"] = "Permission is hereby granted,\nfree of charge"
    assert licence_of(facts) == "not stated"  # type: ignore[arg-type]
    facts["Classifier"] = "License :: OSI Approved :: MIT License"
    assert licence_of(facts) == "MIT License"  # type: ignore[arg-type]
    facts["License-Expression"] = "MIT"
    assert licence_of(facts) == "MIT"  # type: ignore[arg-type]


def test_every_package_that_may_be_installed_is_pinned():
    """As far as those are installed that ask for others; what is missing here would come in any version."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    asked = [*project["dependencies"], *(one for extra in project["optional-dependencies"].values() for one in extra)]
    waiting, seen = [Requirement(one) for one in asked], set()
    while waiting:
        wanted = waiting.pop()
        key = canonicalize_name(wanted.name), frozenset(wanted.extras)
        if key in seen or key[0] in ("unbraid", *_UNPINNED):
            continue
        seen.add(key)
        with suppress(PackageNotFoundError):
            inner = [Requirement(one) for one in distribution(wanted.name).requires or []]
            waiting += [one for one in inner if _is_asked(one, wanted.extras)]
    pinned = {canonicalize_name(name) for name in names()}
    assert {name for name, _ in seen} - pinned == set()


_UNPINNED = ("wandb",)
"""A client of a service, which is to be as new as that is."""


def _is_asked(requirement: Requirement, extras: set[str]) -> bool:
    return requirement.marker is None or any(requirement.marker.evaluate({"extra": one}) for one in ("", *extras))

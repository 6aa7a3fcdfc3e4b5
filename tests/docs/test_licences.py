"""The page of licences has a line for every package that is pinned."""

from __future__ import annotations

from email.message import Message

from benchmarks.pages.licences import _LINE, PAGE, licence_of, names


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

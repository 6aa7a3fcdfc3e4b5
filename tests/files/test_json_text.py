"""JSON of anybody: what is wrong with it is said, and never escapes as anything but JsonError."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from unbraid.files import json_text
from unbraid.files.json_text import JsonError, entries, member, parse_json, read_json


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("[" * 100_000, "nested more than"),
        ("[" * 101 + "]" * 101, "nested more than"),
        ('{"a":' * 150 + "1" + "}" * 150, "nested more than"),
        ("NaN", "NaN is no number"),
        ("[-Infinity]", "no number"),
        ("1e400", "out of range"),
        ("9" * 5000, "digits"),
        ('"\\ud800"', "half a character"),
        ('{"\\udc00": 1}', "half a character"),
        (b"\xff\xfe\xfd", "decode"),
        ("", "Expecting value"),
        ("{", "Expecting property name"),
    ],
)
def test_what_is_refused(text: str | bytes, sentence: str):
    with pytest.raises(JsonError, match=sentence):
        parse_json(text)


@given(st.binary(max_size=200) | st.text(max_size=200))
def test_any_text_is_json_or_refused(text: str | bytes):
    with suppress(JsonError):
        json.dumps(parse_json(text), ensure_ascii=False).encode()


def test_values_come_back():
    value = {"a": [1, 2.5, None, True, "ä"], "b": {"c": []}}
    assert parse_json(json.dumps(value)) == value


def test_members_have_a_type():
    data = {"name": "a", "count": 3, "flag": True, "list": ["x", "y"]}
    assert member(data, "name", str) == "a"
    assert member(data, "count", float) == 3.0
    assert entries(data, "list", str) == ["x", "y"]
    for key, kind, sentence in (
        ("name", int, "'name' is a text, not a whole number"),
        ("flag", float, "'flag' is true or false, not a number"),
        ("none", str, "'none' is missing"),
    ):
        with pytest.raises(JsonError, match=sentence):
            member(data, key, kind)
    with pytest.raises(JsonError, match="'list' is a text, not a whole number"):
        entries(data, "list", int)
    with pytest.raises(JsonError, match="a list stands where 'name' is looked for"):
        member([], "name", str)


def test_files_have_a_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = tmp_path / "a.json"
    path.write_text("[1, 2, 3]")
    assert read_json(path) == [1, 2, 3]
    monkeypatch.setattr(json_text, "_MOST_BYTES", 5)
    with pytest.raises(JsonError, match="more than"):
        read_json(path)

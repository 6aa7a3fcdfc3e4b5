"""Settings in YAML: what is plain is read, what would fill the memory or call for a program is not."""

import pytest

from unbraid.errors import WeightsError
from unbraid.weights.settings import read_settings

BOMB = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{number}: &a{number} [{', '.join([f'*a{number - 1}'] * 10)}]\n" for number in range(1, 10)
)


@pytest.mark.parametrize(
    ("text", "what"),
    [
        (BOMB, "more than 1,000,000 values"),
        ("[" * 5000, "nested more than 100 deep"),
        ("{a: " * 200 + "1" + "}" * 200, "nested more than 100 deep"),
        ("".join(f"{' ' * depth}a:\n" for depth in range(200)), "nested more than 100 deep"),
        ("a: &a [1, *a]", "a part of it contains itself"),
        ("a: !!python/object/apply:os.system [echo]", "nothing else is read"),
    ],
    ids=["aliases", "brackets", "braces", "indents", "itself", "program"],
)
def test_what_is_no_plain_settings_is_refused(tmp_path, text, what):
    (tmp_path / "a.yaml").write_text(text)
    with pytest.raises(WeightsError, match=what):
        read_settings(tmp_path / "a.yaml")


def test_aliases_tuples_and_short_floats_are_plain(tmp_path):
    (tmp_path / "a.yaml").write_text("a: &a [1, 1e-4]\nb: *a\nc: !!python/tuple [2, x]\nd: [*a, *a]\n")
    expected = {"a": [1, 1e-4], "b": [1, 1e-4], "c": (2, "x"), "d": [[1, 1e-4], [1, 1e-4]]}
    assert read_settings(tmp_path / "a.yaml") == expected

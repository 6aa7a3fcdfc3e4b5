"""One name for several models: what it is read as, and what is said of a slip."""

import pytest

from unbraid.errors import ConfigError
from unbraid.separation.compositions.syntax import (
    Blend,
    Chain,
    OneModel,
    Step,
    is_composition,
    model_names,
    parse_composition,
    title_of,
)

A, B, C = OneModel("a"), OneModel("b"), OneModel("c")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a+b", Blend(members=(A, B), weights=(1.0, 1.0))),
        ("0.7*a + 0.3*b", Blend(members=(A, B), weights=(0.7, 0.3))),
        ("median(a, b, c)", Blend(members=(A, B, C), weights=(1.0,) * 3, how="median")),
        ("max_spectrum(a,b)", Blend(members=(A, B), weights=(1.0, 1.0), how="max", domain="spectrum")),
        ("avg_fft(a, b)", Blend(members=(A, B), weights=(1.0, 1.0), how="mean", domain="spectrum")),
        ("min_wave(a, b)", Blend(members=(A, B), weights=(1.0, 1.0), how="min")),
        ("a | b on vocals", Chain(steps=(Step(model=A), Step(model=B, on="vocals")))),
        (
            "vocals: a | speech: b on vocals",
            Chain(steps=(Step(model=A, keep=("vocals",)), Step(model=B, on="vocals", keep=("speech",)))),
        ),
        ("vocals, drums: a", Chain(steps=(Step(model=A, keep=("vocals", "drums")),))),
        ("'my model+1'+b", Blend(members=(OneModel("my model+1"), B), weights=(1.0, 1.0))),
        (
            "hf:me/one@v1:best+b",
            Blend(members=(OneModel("hf:me/one@v1:best"), B), weights=(1.0, 1.0)),
        ),
        (
            "min((vocals: a), b+c)",
            Blend(
                members=(Chain(steps=(Step(model=A, keep=("vocals",)),)), Blend(members=(B, C), weights=(1.0, 1.0))),
                weights=(1.0, 1.0),
                how="min",
            ),
        ),
    ],
)
def test_what_is_written_is_read_and_written_again(text, expected):
    assert is_composition(text)
    assert parse_composition(text) == expected
    assert parse_composition(str(expected)) == expected


@pytest.mark.parametrize("name", ["speech", "hf:owner/name@revision", "runs/best.safetensors", "https://host/a+b,c"])
def test_one_model_is_no_composition(name):
    assert not is_composition(name)


def test_a_file_of_that_name_is_one_model(tmp_path):
    path = tmp_path / "a+b.safetensors"
    assert is_composition(str(path))
    path.touch()
    assert not is_composition(str(path))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a+", "a model is missing"),
        ("a | ", "a model is missing"),
        ("a+b)", r"'\)' is not expected"),
        ("median(a, b", r"'\)' is missing"),
        ("mode(a, b)", "there is no way 'mode'"),
        ("x*a+b", "'x' in front of"),
        ("-1*a+b", "numbers of at least 0"),
        ("0*a+0*b", "numbers of at least 0"),
        ("nan*a+b", "numbers of at least 0"),
        ("'a+b", "quotation mark"),
        ("a on vocals | b", "the first model"),
        (": a|b", "no stem in front"),
        ("(" * 20 + "a" + ")" * 20, "nested"),
        ("+".join(f"m{number}" for number in range(40)), "more than 32"),
    ],
)
def test_a_slip_ends_in_one_sentence(text, said):
    with pytest.raises(ConfigError, match=said):
        parse_composition(text)


def test_names_and_title():
    composition = parse_composition("vocals: a+b | 0.7*a+0.3*hf:me/c on vocals")
    assert model_names(composition) == ("a", "b", "hf:me/c")
    assert title_of(composition) == "vocals of a+b, then 0.7 a+0.3 hf_me_c on vocals"

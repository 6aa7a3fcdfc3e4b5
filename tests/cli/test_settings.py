import ast
import re
from dataclasses import replace
from pathlib import Path

import pytest
import typer

import unbraid
from unbraid.cli.main import app
from unbraid.cli.messages import one_line
from unbraid.cli.overrides import apply_overrides
from unbraid.cli.settings import OPTIONS, as_options, in_options
from unbraid.errors import ConfigError, DataError
from unbraid.recipes import RECIPES


@pytest.mark.parametrize(
    ("told", "shown"),
    [
        ("pass `allow_truncated=True` to go on", "pass --allow-truncated to go on"),
        ('choose smaller `segment_seconds`, or `device="cpu"`', "choose smaller --segment, or --device cpu"),
        ('pass `container="wav"` or `container="flac"`', "pass --wav or --flac"),
        ("use `strategy=ddp` or `optimiser.name=adam`", "use --strategy ddp or --set optimiser.name=adam"),
        ("choose `whole=False`", "choose --chunked"),
        ("`remix=dialogue=+6,music=off`", "--remix dialogue=+6,music=off"),
        ("`unbraid check-data` lists them", "`unbraid check-data` lists them"),
        ("`nothing_known`", "`nothing_known`"),
        ("is a finite number from 0 to 0.95 or None, not 0.96", "is a finite number from 0 to 0.95, not 0.96"),
    ],
)
def test_settings_read_as_options(told: str, shown: str):
    assert as_options(told) == shown


def test_the_setting_that_an_error_is_about_reads_as_its_option():
    error = ConfigError("is a finite number above 0, not -1", subject="segment_seconds")
    assert str(error) == "segment_seconds is a finite number above 0, not -1"
    assert in_options(error) == "--segment is a finite number above 0, not -1"
    assert in_options(ConfigError("is 'a' or 'b', not 'c'", subject="fusion")) == "fusion is 'a' or 'b', not 'c'"
    assert in_options(DataError("does not exist", subject="data")) == "data does not exist"


def test_a_message_is_one_line_that_steers_no_terminal():
    assert one_line("two\nlines \x1b[31mred\a") == r"two lines \x1b[31mred\x07"


def test_every_option_exists():
    options, commands = set(), [typer.main.get_command(app)]
    while commands:
        command = commands.pop()
        commands += getattr(command, "commands", {}).values()
        options |= {name for one in command.params for name in (*one.opts, *one.secondary_opts)}
    named = {word for option in OPTIONS.values() for word in option.split() if word.startswith("--")}
    assert named - options == set()


def test_every_setting_that_a_message_names_has_an_option():
    root = Path(unbraid.__file__).parent
    unknown = set()
    for path in root.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.keyword) or node.arg != "remedy":
                continue
            for text in re.findall(r"`([^`]*)`", ast.unparse(node.value)):
                is_function = (root / text.split(".")[0]).is_dir()
                if "unbraid" not in text and not is_function and as_options(f"`{text}`") == f"`{text}`":
                    unknown.add(f"{path.name}: {text}")
    assert unknown == set()


@pytest.mark.parametrize("nothing", ["", "()", "[]", " ( ) "])
def test_a_setting_of_many_values_can_be_emptied(nothing: str):
    config = RECIPES["speech-post-filter"].config
    assert config.freeze
    assert apply_overrides(config, [f"freeze={nothing}"]).freeze == ()


@pytest.mark.parametrize("written", ["encoder, decoder", "(encoder,decoder)", "encoder,decoder,"])
def test_a_setting_of_many_values_is_written_with_commas(written: str):
    assert apply_overrides(RECIPES["speech"].config, [f"freeze={written}"]).freeze == ("encoder", "decoder")


def test_a_setting_of_one_source_is_set_and_the_others_are_left():
    config = RECIPES["cinematic"].config
    changed = apply_overrides(config, ["mixing.drawings.effects.weights=seconds"]).mixing.drawings
    assert changed["effects"] == replace(config.mixing.drawings["effects"], weights="seconds")
    assert {**changed, "effects": config.mixing.drawings["effects"]} == config.mixing.drawings


@pytest.mark.parametrize(
    ("recipe", "item", "advice"),
    [
        ("cinematic", "mixing.drawings.vocals.weights=seconds", "dialogue, music, effects"),
        ("cinematic", "mixing.drawings.effects=3", "effects.weights"),
        ("music", "mixing.drawings.vocals.weights=seconds", "--set 'mixing.drawings={\"vocals\": {}}'"),
    ],
)
def test_a_source_that_has_no_settings_is_refused_with_those_that_have(recipe: str, item: str, advice: str):
    with pytest.raises(ConfigError, match=re.escape(advice)):
        apply_overrides(RECIPES[recipe].config, [item])


def test_settings_are_printed_as_they_are_set(run):
    printed = run("train", "cinematic", "--settings").out
    assert "  mixing.drawings.effects.num_pieces=1,2\n" in printed

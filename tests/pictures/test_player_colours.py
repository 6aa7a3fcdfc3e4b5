"""Colours of the page and the reports have the contrasts of WCAG 2.2 AA, in light and in dark."""

import re

import pytest

from unbraid.pictures.player import assets
from unbraid.web.app import STATIC

PLAYER = (assets.STATIC / "player.css").read_text(encoding="utf-8")
SHEETS = PLAYER + (STATIC / "style.css").read_text(encoding="utf-8")
TEXT, PARTS = 4.5, 3.0
GROUNDS = ("page", "surface", "raised", "sunken", "tint", "bad-tint")


def schemes():
    light, dark = (dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6})", block)) for block in root_blocks())
    return {"light": light, "dark": light | dark}


def root_blocks():
    return re.findall(r":root \{(.*?)\}", PLAYER, re.DOTALL)


def luminance(colour):
    values = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    red, green, blue = (value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4 for value in values)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one, other):
    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def colour_of(value, scheme):
    """A colour, or a variable that stands for one."""
    if found := re.fullmatch(r"var\(--([\w-]+)\)", value):
        return scheme.get(found[1])
    return value if re.fullmatch(r"#[0-9a-f]{6}", value) else None


def pairs_of_rules(scheme):
    """Colours of text and ground that one rule sets together."""
    for selector, body in re.findall(r"([^{}]+)\{([^{}]*)\}", SHEETS):
        found = dict(re.findall(r"(?:^|;)\s*(color|background): ([^;]+)", body))
        text, ground = (colour_of(found.get(key, ""), scheme) for key in ("color", "background"))
        if text and ground:
            yield selector.strip(), text, ground


def test_the_measure_is_that_of_wcag():
    assert contrast("#ffffff", "#000000") == pytest.approx(21)
    assert contrast("#767676", "#ffffff") == pytest.approx(4.54, abs=0.01)


@pytest.mark.parametrize("name", ["light", "dark"])
def test_text_can_be_read(name):
    scheme = schemes()[name]
    pairs = [(f"{text} on {ground}", scheme[text], scheme[ground]) for text in ("text", "soft") for ground in GROUNDS]
    pairs += [(f"{text} on {ground}", scheme[text], scheme[ground]) for text in ("bad",) for ground in GROUNDS]
    pairs += [("links", scheme["accent-strong"], scheme["tint"]), *pairs_of_rules(scheme)]
    assert len(pairs) > 25
    assert {what: round(contrast(*pair), 2) for what, *pair in pairs if contrast(*pair) < TEXT} == {}


@pytest.mark.parametrize("name", ["light", "dark"])
def test_controls_marks_and_waveforms_can_be_seen(name):
    scheme = schemes()[name]
    tracks = re.findall(r"--track: (#[0-9a-f]{6})", PLAYER)
    assert len(tracks) == 9
    pairs = [(f"track {track}", track, scheme["surface"]) for track in tracks]
    parts = [(part, ground) for part in ("control", "accent", "playhead") for ground in GROUNDS[:4]]
    pairs += [(f"{part} on {ground}", scheme[part], scheme[ground]) for part, ground in parts]
    pairs += [(part, scheme[part], scheme["surface"]) for part in ("good", "bad", "solo-edge")]
    pairs += [("picked segment", scheme["accent"], scheme["picked"]), ("bar", scheme["accent"], scheme["sunken"])]
    assert {what: round(contrast(*pair), 2) for what, *pair in pairs if contrast(*pair) < PARTS} == {}

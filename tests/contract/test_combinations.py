"""Every choice of every architecture, one at a time, in a tiny form: lengths from one sample, silence, 1 to 6 sources.

The forms are found in the catalog: each preset's config, shrunk, and every other word, switch and kind of part that its
fields allow. What a config refuses is no form. A new preset, option or part is tried without a line here.
"""

from __future__ import annotations

import types
from collections.abc import Iterator
from dataclasses import fields, is_dataclass, replace
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import pytest
import torch

from unbraid.errors import ConfigError
from unbraid.models.catalog import ARCHITECTURES, PRESETS, architecture_name, build_model
from unbraid.models.contract import SeparationModel
from unbraid.models.exporting import exportable_core, trace_core
from unbraid.models.super_resolution.wrapper import WithSuperResolutionConfig
from unbraid.options import allowed_values
from unbraid.recipes.smoke import TINY, shrunken

LENGTHS = (1, 2, 17, 400, 1601)
MOST_SOURCES = 6
ROFORMER_BANDS = 29
"""Of the tiny forms: the only number that this split has for their bins."""
PACKAGED = ("demucs", "ensemble", "pymss")
"""Networks of other packages, and what is made of others."""


def alternatives(annotation: object) -> Iterator[object]:
    """The words, switches and parts that a field may hold."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Literal:
        yield from arguments
    elif origin in (Union, types.UnionType):
        for choice in arguments:
            yield from alternatives(choice)
    elif origin is Annotated:
        yield from alternatives(arguments[0])
    elif annotation is bool:
        yield from (False, True)
    elif isinstance(annotation, type) and is_dataclass(annotation):
        yield annotation()


def variations(config: Any) -> Iterator[tuple[str, Any]]:
    """The config with one thing changed, by what that is."""
    allowed = allowed_values(type(config))
    for field in fields(config):
        value = getattr(config, field.name)
        for other in alternatives(allowed[field.name]):
            same = type(other) is type(value) if is_dataclass(other) else other == value
            if same or field.name == "exchangeable":
                continue
            try:
                yield f"{field.name}={_word(other)}", replace(config, **{field.name: other})
            except ConfigError:
                continue  # what does not go together is refused
        if is_dataclass(value):
            for name, part in variations(value):
                try:
                    yield f"{field.name}.{name}", replace(config, **{field.name: part})
                except ConfigError:
                    continue


def _word(value: object) -> str:
    return type(value).__name__ if is_dataclass(value) else str(value)


def forms() -> dict[str, Any]:
    """By name the config of every form; presets that differ in size alone are one when they are tiny."""
    found, seen = {}, set()
    for preset, config in sorted(PRESETS.items()):
        if architecture_name(config) in PACKAGED:
            continue
        for name, form in (("", config), *variations(config)):
            try:
                tiny = shrunken(form)
            except ConfigError:
                continue  # a size that does not fit the other word
            if getattr(tiny, "band_scale", "") == "bs-roformer":
                tiny = replace(tiny, num_bands=ROFORMER_BANDS)
            if repr(tiny) not in seen:
                seen.add(repr(tiny))
                found[f"{preset} {name}".strip()] = tiny
    return found


FORMS = forms()


def with_sources(config: Any, count: int) -> Any:
    if isinstance(config, WithSuperResolutionConfig):
        return replace(config, separator=with_sources(config.separator, count))
    return replace(config, sources=tuple(f"source{number}" for number in range(count)))


def built(config: Any) -> SeparationModel:
    try:
        return build_model(config)
    except ConfigError as refused:
        pytest.skip(f"no form: {refused}")


def test_every_architecture_and_many_forms_are_found():
    found = {architecture_name(config) for config in FORMS.values()}
    assert found == ARCHITECTURES.keys() - set(PACKAGED) == set(TINY) | {"with-super-resolution"}
    assert len(FORMS) >= 162


@pytest.mark.slow
@pytest.mark.parametrize("name", FORMS)
def test_every_form_takes_any_length_silence_and_number_of_sources(name):
    """The number of sources goes round from form to form; presets as they are have all of them."""
    place = list(FORMS).index(name)
    counts = range(1, MOST_SOURCES + 1) if " " not in name else (1 + place % MOST_SOURCES,)
    for count in counts:
        model = built(with_sources(FORMS[name], count))
        channels = model.spec.num_channels
        with torch.inference_mode():
            for num_samples in LENGTHS:
                estimates = model(0.1 * torch.randn(2, channels, num_samples))
                assert estimates.shape == (2, count, channels, num_samples)
                assert estimates.isfinite().all()
            assert model(torch.zeros(1, channels, 801)).isfinite().all()


def least(config: Any) -> Any:
    """A form with the same choices and what repeats in it once, so that it is traced in seconds.

    What a core never sees has its usual value: forms that differ in nothing else are one.
    """
    if isinstance(config, WithSuperResolutionConfig):
        return replace(config, separator=least(config.separator))
    choices = {name: getattr(config, name, None) for name in ("heads", "fusion", "decoder_state_space", "band_scale")}
    sizes = {
        "num_bands": ROFORMER_BANDS if choices["band_scale"] == "bs-roformer" else 6,
        "num_blocks": 2 if choices["heads"] in ("each", "shared") else 1,
        "num_rounds": 1,
        "depth": 3 if choices["fusion"] == "previous" or choices["decoder_state_space"] != "none" else 2,
        "chunk_frames": 10,
    }
    if getattr(config, "padding", "") == "none":
        # Frames that are samples: their number divided by a stride is a long term, of which every size is a longer one.
        sizes |= {"kernel_samples": 2, "stride_samples": 1}
    around = {"frames": "all", "scaling": "together", "level": "normalised", "start": "mixture"}
    usual = {"num_channels": 1, "sources": ("one", "two"), "exchangeable": True}
    known = {field.name for field in fields(config)}
    return replace(config, **{name: value for name, value in (sizes | around | usual).items() if name in known})


def exported_forms() -> dict[str, Any]:
    """Every preset as it is when tiny; of the forms the least of those whose cores differ.

    The choices of a separator that stands within another part are tried in one such place.
    """
    found, seen = {}, set()
    for name, config in FORMS.items():
        preset, _, change = name.partition(" ")
        if not change:
            found[preset] = config
            continue
        kinds = {(type(config), change)} if change.startswith("separator.") else set()
        if kinds and isinstance(config, WithSuperResolutionConfig):
            continue
        smallest = least(config)
        if not seen & (kinds | {repr(smallest)}):
            seen |= kinds | {repr(smallest)}
            found[name] = smallest
    return found


@pytest.mark.slow
@pytest.mark.usefixtures("symbolic_sizes")
@pytest.mark.parametrize("name", EXPORTED := exported_forms())
def test_every_form_exports(name):
    """Its core for any number of rows and frames where it has one, and else the whole for one length.

    A third of the example's frames is no multiple of the 32 that the residual U-Net halves down.
    """
    model = built(EXPORTED[name])
    try:
        core = exportable_core(model)
    except ConfigError:
        example = torch.randn(1, model.spec.num_channels, 1600)
        program = torch.export.export(model, (example,), strict=False)
        with torch.inference_mode():
            assert torch.allclose(program.module()(example), model(example), atol=1e-5)
        return
    program = trace_core(core).module()
    with torch.inference_mode():
        for example in core.inputs():
            assert torch.allclose(program(example), core.module(example), atol=1e-4)

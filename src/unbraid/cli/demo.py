"""`unbraid demo`: separates the examples that come along and compares with what was spoken."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rich.console import Console

    from unbraid.evaluation.report.passages import Passage
    from unbraid.separation.separator import Separator

_MODELS = {
    ("speaker1", "speaker2"): "speech",
    ("noise", "speaker1", "speaker2"): "speech-noisy",
    ("dialogue", "effects", "music"): "cinematic",
    ("accompaniment", "drums", "vocals"): "music",
}
"""References of an example -> the bundled model for it."""


def demo(
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder for the stems and the report.")] = Path("separated"),
    name: Annotated[
        str | None,
        typer.Option(
            "-n",
            "--name",
            help="A bundled model's name, or a weights file: the examples that it fits. By default all of them, each "
            "with the bundled model for it.",
            show_default=False,
        ),
    ] = None,
    device: Annotated[str, typer.Option("-d", "--device", help="auto, cpu, cuda or mps.")] = "auto",
) -> None:
    """Separate the example recordings, write stems and a report to look at and listen to."""
    from rich.console import Console

    from unbraid.evaluation.report.reports import write_examples_report
    from unbraid.weights.store import inspect_model

    chosen = _choose_models(list_examples(find_examples()), name, device)
    items: dict[str, list[Passage]] = {}
    with Console(stderr=True).status("") as status:
        for model, (separator, folders) in chosen.items():
            model_name = inspect_model(model).name
            for folder in folders:
                status.update(f"separating {folder.name} with {model_name}")
                item = separate_example(separator, folder, out / model_name / folder.name)
                items.setdefault(model_name, []).append(item)
    console = Console()
    for model_name, found in items.items():
        _print_scores(console, found, model_name)
    console.print(f"Stems are in {out}", soft_wrap=True, markup=False, highlight=False)
    report = out / "report.html"
    with Console(stderr=True).status("drawing the report"):
        facts: dict[str, str] = {}
        for model, (separator, _) in chosen.items():
            facts |= _model_facts(separator, model)
        write_examples_report(
            report, [item for found in items.values() for item in found], title="Separated", facts=facts | _versions()
        )
    console.print(f"Look and listen: {report}", soft_wrap=True, markup=False, highlight=False)


def find_examples() -> Path:
    """The folder of the examples: inside the installed package, or at the root of a clone."""
    import unbraid
    from unbraid.errors import DataError

    package = Path(unbraid.__file__).parent
    for folder in (package / "examples", package.parents[1] / "examples"):
        if folder.is_dir() and any(folder.rglob("mixture.flac")):
            return folder
    raise DataError("the examples are not installed here", remedy="run `unbraid demo` in a clone of the repository")


def list_examples(root: Path) -> list[Path]:
    """Folders that hold a mixture and its references."""
    return sorted(path.parent for path in root.rglob("mixture.flac"))


def separate_example(separator: Separator, folder: Path, out: Path) -> Passage:
    """Separates `mixture.flac`, writes the stems in the model's order, and scores them against the other files."""
    from dataclasses import replace

    import numpy as np
    import torch

    from unbraid.audio.formats import Encoding
    from unbraid.audio.recording import Recording
    from unbraid.evaluation.report.passages import Passage
    from unbraid.evaluation.scoring import score_estimates
    from unbraid.output.stem_files import StemWriters

    mixture = Recording.read(folder / "mixture.flac")
    names = _scored(separator, _references(folder))
    references = {name: Recording.read(folder / f"{name}.flac") for name in names}
    separation = separator.separate(folder / "mixture.flac")
    paths = {stem: out / f"{stem}.wav" for stem in separation}
    estimates = np.stack([recording.samples for recording in separation.values()])
    with StemWriters(paths, mixture.sample_rate, mixture.num_channels, Encoding(sample="int16")) as writers:
        writers.write(estimates)
        writers.commit()
    scored = list(separation.values())
    if not separator.spec.exchangeable:
        scored = [separation[name] for name in names]
    score = score_estimates(
        torch.from_numpy(np.stack([recording.samples for recording in scored])),
        torch.from_numpy(np.stack([recording.samples for recording in references.values()])),
        torch.from_numpy(mixture.samples),
        exchangeable=separator.spec.exchangeable,
        sources=tuple(references),
    )
    about = folder / "about.txt"
    # The names of the references, in the order of the estimates.
    stems = dict(zip(references, scored, strict=True))
    return Passage(
        score=replace(
            score, name=folder.name, seconds=mixture.seconds, model_seconds=separation.finished.model_seconds
        ),
        note=about.read_text(encoding="utf-8") if about.is_file() else "",
        mixture=mixture,
        references=references,
        estimates={target.source: stems[target.estimate] for target in score.targets},
    )


def _references(folder: Path) -> tuple[str, ...]:
    return tuple(sorted(path.stem for path in folder.glob("*.flac") if path.stem != "mixture"))


def _speakers(references: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(name for name in references if name.startswith("speaker"))


def _scored(separator: Separator, references: tuple[str, ...]) -> tuple[str, ...]:
    """References that the model has an estimate for, in its order; a song's accompaniment is two stems of ours."""
    if separator.spec.exchangeable:
        return _speakers(references)
    return tuple(name for name in separator.spec.sources if name in references)


def _choose_models(folders: list[Path], name: str | None, device: str) -> dict[str, tuple[Separator, list[Path]]]:
    """Model -> the examples that it takes: those that fit the named one, or each for the bundled model of its kind."""
    from unbraid.errors import ConfigError, UnknownNameError
    from unbraid.separation.separator import Separator
    from unbraid.weights.store import bundled_models

    if name is None:
        bundled = bundled_models()
        wanted = {folder: _MODELS[_references(folder)] for folder in folders}
        # Where none is there, which a newcomer cannot know to be odd, more is said than 'no such model'.
        if missing := sorted(set(wanted.values()) - set(bundled)):
            raise UnknownNameError(
                f"the model '{missing[0]}' is not bundled with this install",
                remedy="install a release, or pass a weights file with --name",
            )
        models = dict.fromkeys(wanted.values())
        return {
            model: (Separator(model, device=device), [folder for folder in folders if wanted[folder] == model])
            for model in models
        }
    separator = Separator(name, device=device)
    fitting = [folder for folder in folders if _fits(separator, _references(folder))]
    if not fitting:
        raise ConfigError(
            f"the examples are of {' and of '.join(', '.join(names) for names in _MODELS)}, and '{name}' gives "
            f"{', '.join(separator.spec.sources)}",
            remedy="choose another model with --name",
        )
    return {name: (separator, fitting)}


def _fits(separator: Separator, references: tuple[str, ...]) -> bool:
    spec = separator.spec
    if spec.exchangeable:
        return spec.num_sources == len(_speakers(references))
    return set(references) - {"accompaniment"} <= set(spec.sources)


def _print_scores(console: Console, items: list[Passage], model_name: str) -> None:
    from rich import box
    from rich.markup import escape
    from rich.table import Table

    from unbraid.evaluation.scoring import BEFORE

    table = Table(title=f"SI-SDR in dB, model {escape(model_name)}", box=box.SIMPLE_HEAD, title_justify="left")
    for heading in ("example", "source"):
        table.add_column(heading)
    for heading in ("before", "after", "improvement"):
        table.add_column(heading, justify="right")
    for item in items:
        for index, one in enumerate(item.score.targets):
            table.add_row(
                item.score.name if index == 0 else "",
                one.source,
                f"{one.metrics[BEFORE]:.1f}",
                f"{one.metrics['SI-SDR']:.1f}",
                f"{one.metrics['SI-SDRi']:+.1f}",
                end_section=index == len(item.score.targets) - 1,
            )
    console.print(table)


def _model_facts(separator: Separator, model: str) -> dict[str, str]:
    from unbraid.weights.store import inspect_model

    stored = inspect_model(model)
    parameters = sum(parameter.numel() for parameter in separator.model.parameters())
    about = f"architecture {stored.architecture}, {parameters:,} parameters, weights {stored.sha256[:12]}"
    return {f"model {stored.name}": f"{stored.name} ({about})"}


def _versions() -> dict[str, str]:
    import platform

    import torch

    import unbraid

    threads = torch.get_num_threads()
    return {
        "computed on": f"{platform.machine()}, {threads} {'thread' if threads == 1 else 'threads'}",
        "versions": f"unbraid {unbraid.__version__}, torch {torch.__version__}, Python {platform.python_version()}",
    }

"""`unbraid demo`: separates the examples that come along and compares with what was spoken."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rich.console import Console

    from unbraid.evaluation.report import ReportItem
    from unbraid.inference.separator import Separator


def demo(
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder for the stems and the report.")] = Path("separated"),
    name: Annotated[str, typer.Option("-n", "--name", help="A bundled model's name, or a weights file.")] = "speech",
    device: Annotated[str, typer.Option("-d", "--device", help="auto, cpu, cuda or mps.")] = "auto",
) -> None:
    """Separate the example recordings, write stems and a report to look at and listen to."""
    from rich.console import Console

    from unbraid.evaluation.report import write_report
    from unbraid.weights.store import inspect_model

    folders = list_examples(find_examples())
    separator = _open_separator(name, device)
    model_name = inspect_model(name).name
    items = []
    with Console(stderr=True).status("") as status:
        for folder in folders:
            status.update(f"separating {folder.name}")
            items.append(separate_example(separator, folder, out / model_name / folder.name))
    console = Console()
    _print_scores(console, items, model_name)
    console.print(f"Stems are in {out / model_name}", soft_wrap=True, markup=False, highlight=False)
    report = out / "report.html"
    with Console(stderr=True).status("drawing the report"):
        write_report(report, items, title="Two speakers apart", facts=_model_facts(separator, name))
    console.print(f"Look and listen: {report}", soft_wrap=True, markup=False, highlight=False)


def find_examples() -> Path:
    """The folder of the examples: inside the installed package, or at the root of a clone."""
    import unbraid
    from unbraid.errors import DataError

    package = Path(unbraid.__file__).parent
    for folder in (package / "examples", package.parents[1] / "examples"):
        if folder.is_dir() and any(folder.glob("*/mixture.flac")):
            return folder
    raise DataError("the examples are not installed here: run `unbraid demo` in a clone of the repository")


def list_examples(root: Path) -> list[Path]:
    """Folders that hold a mixture and its references."""
    return sorted(path.parent for path in root.glob("*/mixture.flac"))


def separate_example(separator: Separator, folder: Path, out: Path) -> ReportItem:
    """Separates `mixture.flac`, writes the stems in the model's order, and scores them against speakerN.flac."""
    import numpy as np
    import torch

    from unbraid.audio.formats import Encoding
    from unbraid.audio.recording import Recording
    from unbraid.audio.stems import StemWriters
    from unbraid.evaluation.report import ReportItem
    from unbraid.evaluation.scoring import score_estimates

    mixture = Recording.read(folder / "mixture.flac")
    references = {path.stem: Recording.read(path) for path in sorted(folder.glob("speaker*.flac"))}
    separation = separator.separate(folder / "mixture.flac")
    paths = {stem: out / f"{stem}.wav" for stem in separation}
    estimates = np.stack([recording.samples for recording in separation.values()])
    with StemWriters(paths, mixture.sample_rate, mixture.num_channels, Encoding(sample="int16")) as writers:
        writers.write(estimates)
        writers.commit()
    score = score_estimates(
        torch.from_numpy(estimates),
        torch.from_numpy(np.stack([recording.samples for recording in references.values()])),
        torch.from_numpy(mixture.samples),
        exchangeable=separator.spec.exchangeable,
        sources=tuple(references),
    )
    stems = list(separation.values())
    about = folder / "about.txt"
    return ReportItem(
        title=folder.name,
        note=about.read_text(encoding="utf-8") if about.is_file() else "",
        mixture=mixture,
        references=references,
        estimates={name: stems[index] for name, index in zip(references, score.order, strict=True)},
        score=score,
        model_seconds=separation.finished.model_seconds,
    )


def _open_separator(name: str, device: str) -> Separator:
    """Says more than 'no such model' where the bundled one is missing, which a newcomer cannot know to be odd."""
    from unbraid.errors import ConfigError, UnknownNameError
    from unbraid.inference.separator import Separator
    from unbraid.weights.store import bundled_models

    if name == "speech" and not Path(name).is_file() and name not in bundled_models():
        raise UnknownNameError(
            "the model 'speech' is not bundled with this install: install a release, or pass the weights file of a "
            "model of two speakers with --name"
        )
    separator = Separator(name, device=device)
    if separator.spec.num_sources != 2 or not separator.spec.exchangeable:
        raise ConfigError(
            f"the examples are of two speakers, and '{name}' gives {', '.join(separator.spec.sources)}: choose a model "
            "of two speakers with --name"
        )
    return separator


def _print_scores(console: Console, items: list[ReportItem], model_name: str) -> None:
    from rich import box
    from rich.markup import escape
    from rich.table import Table

    table = Table(title=f"SI-SDR in dB, model {escape(model_name)}", box=box.SIMPLE_HEAD, title_justify="left")
    for heading in ("example", "source"):
        table.add_column(heading)
    for heading in ("before", "after", "improvement"):
        table.add_column(heading, justify="right")
    for item in items:
        for index, one in enumerate(item.score.sources):
            table.add_row(
                item.title if index == 0 else "",
                one.source,
                f"{one.mixture_si_sdr_db:.1f}",
                f"{one.si_sdr_db:.1f}",
                f"{one.si_sdr_improvement_db:+.1f}",
                end_section=index == len(item.score.sources) - 1,
            )
    console.print(table)


def _model_facts(separator: Separator, name: str) -> dict[str, str]:
    import platform

    import torch

    import unbraid
    from unbraid.weights.store import inspect_model

    stored = inspect_model(name)
    threads = torch.get_num_threads()
    parameters = sum(parameter.numel() for parameter in separator.model.parameters())
    return {
        "model": f"{stored.name} (architecture {stored.architecture}, weights {stored.sha256[:12]})",
        "parameters": f"{parameters:,}",
        "computed on": f"{separator.device}, {threads} {'thread' if threads == 1 else 'threads'}",
        "versions": f"unbraid {unbraid.__version__}, torch {torch.__version__}, Python {platform.python_version()}",
    }

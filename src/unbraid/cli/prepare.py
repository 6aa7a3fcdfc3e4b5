"""`unbraid prepare`: what some data sets need once before training."""

from __future__ import annotations

import os
from collections.abc import Generator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from unbraid.cli.messages import complain, is_terminal
from unbraid.cli.options import flag

if TYPE_CHECKING:
    from unbraid.data.prepare.tasks import PrepareEvent

prepare = typer.Typer(
    help="""One-time preparation that some data sets need before training; can be stopped, and resumes where it was.

    [bold]Examples[/bold]

    unbraid prepare activity musdb18hq/
        a list of where each stem sounds, to train on instead of the folder
    unbraid prepare resample wsj0/ wsj0-8k/ --rate 8000
        a copy at another sample rate
    unbraid prepare midi midi/ songs/
        stems from MIDI files
    unbraid prepare lmms projects/ songs/
        stems from song projects of LMMS
    unbraid prepare corpus sources/ corpus/
        the corpus of the bundled models, from its public sources
    unbraid prepare pack corpus/ pack/ --recipe speech
        what a run needs in 40 MB, to carry to a rented GPU
    unbraid prepare list corpus/ mine.csv
        a fixed list of mixtures of your own, to score models on
    unbraid prepare mixtures speech-test corpus/ mixtures/
        the mixtures of a fixed list as files, to run other tools on
    """,
    no_args_is_help=True,
    rich_markup_mode="rich",
)

Jobs = Annotated[int | None, typer.Option("-j", "--jobs", min=1, help="Files at a time; by default one per core.")]


@prepare.command()
def activity(
    data: Annotated[Path, typer.Argument(metavar="DIR", help="Folder of the data set, or a list.")],
    out: Annotated[
        Path | None, typer.Option("--out", "-o", metavar="FILE", help="The list to write; by default DIR/activity.csv.")
    ] = None,
    layout: Annotated[str, typer.Option(metavar="NAME", help="Its layout, see `unbraid check-data --list`.")] = "auto",
    jobs: Jobs = None,
) -> None:
    """Finds where each stem of the training split sounds, and writes a list of those segments.

    By the rule of SFC: segments of 8 s at every 4 s, kept if half of their tenths are louder than the quietest 15 % of
    the stem. The list is a data set: train on it with --data DIR/activity.csv. Validation and test stay whole.

    [bold]Examples[/bold]

    unbraid prepare activity musdb18hq/
    unbraid train sfc-ca-small-musdb --data musdb18hq/activity.csv
    """
    from unbraid.data.prepare.activity import prepare_activity

    _run(prepare_activity(data, out, layout, jobs or os.cpu_count() or 1))


@prepare.command()
def resample(
    data: Annotated[Path, typer.Argument(metavar="DIR", help="Folder of the data set.")],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="Folder of the copy; made if it is not there.")],
    rate: Annotated[int, typer.Option(metavar="HZ", help="Sample rate of the copy.")] = 8000,
    jobs: Jobs = None,
) -> None:
    """Copies a data set to another sample rate, so that nothing has to be resampled while training.

    Folders and names stay; WAV and FLAC stay what they are, in their depth, everything else becomes FLAC. Each
    MUSDB18 .stem.mp4 becomes a folder of FLAC files. Lists are copied with the lengths that changed.

    [bold]Examples[/bold]

    unbraid prepare resample wsj0/ wsj0-8k/ --rate 8000
    unbraid prepare resample musdb18/ musdb18-flac/ --rate 44100
    """
    from unbraid.data.prepare.resample import prepare_resample

    _run(prepare_resample(data, out, rate, jobs or os.cpu_count() or 1))


@prepare.command()
def midi(
    data: Annotated[Path, typer.Argument(metavar="DIR", help="Folder of .mid files, searched all the way down.")],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="Folder of the songs; made if it is not there.")],
    sound_font: Annotated[
        Path | None,
        typer.Option("--sound-font", metavar="FILE", help="General MIDI sound font; by default the system's."),
    ] = None,
    rate: Annotated[int, typer.Option(metavar="HZ", help="Sample rate of the stems.")] = 44100,
    silent_stems: Annotated[
        bool, flag("--silent-stems", "Write parts that a piece does not have as silence; else they are missing.")
    ] = False,
    jobs: Jobs = None,
) -> None:
    """Renders MIDI files to drums, bass and other, each alone, with fluidsynth and a General MIDI sound font.

    Drums are what is on channel 10, bass what has the programs 33 to 40, other the rest. The stems of a song add up to
    the song: reverb and chorus are off. On Debian:  apt-get install fluidsynth fluid-soundfont-gm

    [bold]Examples[/bold]

    unbraid prepare midi midi/ songs/
    unbraid prepare midi midi/ other-timbre/ --sound-font MuseScore_General.sf3
    """
    from unbraid.data.prepare.midi import prepare_midi

    _run(prepare_midi(data, out, sound_font, rate, silent_stems, jobs or os.cpu_count() or 1))


@prepare.command()
def lmms(
    data: Annotated[Path, typer.Argument(metavar="DIR", help="Folder of .mmpz files, searched all the way down.")],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="Folder of the songs; made if it is not there.")],
    rate: Annotated[int, typer.Option(metavar="HZ", help="Sample rate of the stems.")] = 44100,
    jobs: Jobs = None,
) -> None:
    """Renders song projects of LMMS to drums, bass and other, with the program lmms.

    Which instrument belongs to which stem is told by its name and by the sound it plays, and, where nobody has named
    it, by its pitch. Effects of the master channel are left out. On Debian:  apt-get install lmms

    [bold]Examples[/bold]

    unbraid prepare lmms corpus/music/lmms/ corpus/music/rendered-lmms/train/
    unbraid train music --data corpus/
    """
    from unbraid.data.prepare.lmms import prepare_lmms

    _run(prepare_lmms(data, out, rate, jobs or os.cpu_count() or 1))


def _list_sources(wanted: bool) -> bool:
    if wanted:
        from unbraid.data.prepare.corpus import SOURCES

        width = max(map(len, SOURCES))
        for name, place in SOURCES.items():
            typer.echo(f"{name:<{width}}  {place}")
        raise typer.Exit
    return wanted


@prepare.command()
def corpus(
    sources: Annotated[Path, typer.Argument(metavar="SOURCES", help="Folder of copies of the sources, unpacked.")],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="Folder of the corpus; made if it is not there.")],
    jobs: Jobs = None,
    list_: Annotated[
        bool, flag("--list/-l", "List the sources and exit.", callback=_list_sources, is_eager=True)
    ] = False,
) -> None:
    """Rebuilds the corpus that the bundled models are trained on, from copies of its public sources.

    Nothing is downloaded: clone or unpack what --list names into one folder; what is missing is skipped. Speech
    comes out the same to the sample, which is checked. The status is not 0 as long as something is missing.

    [bold]Examples[/bold]

    unbraid prepare corpus --list
    unbraid prepare corpus sources/ corpus/
    unbraid train speech --data corpus/
    """
    from unbraid.data.prepare.corpus import prepare_corpus

    _run(prepare_corpus(sources, out, jobs or os.cpu_count() or 1))


@prepare.command()
def mixtures(
    name: Annotated[
        str,
        typer.Argument(
            metavar="LIST", help="speech-test, speech-noisy-test, cinematic-test, the same with -valid, or a CSV file."
        ),
    ],
    corpus: Annotated[Path, typer.Argument(metavar="CORPUS", help="Folder of the corpus that it is made of.")],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="Folder of the mixtures; made if it is not there.")],
    jobs: Jobs = None,
) -> None:
    """Writes the mixtures of a fixed list and their sources as WAV files, OUT/0000/mixture.wav and so on.

    To listen to what a model is scored on, and to score other tools on the same.

    [bold]Examples[/bold]

    unbraid prepare mixtures cinematic-test corpus/ scenes/
    unbraid separate -n cinematic scenes/0003/mixture.wav
    unbraid evaluate other-tool/ scenes/ --json other.json
        what another tool has made of scenes/, as other-tool/0003/dialogue.wav and so on
    """
    from unbraid.evaluation.mixtures import prepare_mixtures

    _run(prepare_mixtures(name, corpus, out, jobs or os.cpu_count() or 1))


@prepare.command()
def pack(
    data: Annotated[Path, typer.Argument(metavar="DIR", help="Folder of the data set.")],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="Folder of the copy; made if it is not there.")],
    recipe: Annotated[
        str, typer.Option(metavar="NAME", help="The recipe to train; it says which part, rate and channels.")
    ] = "speech",
    megabytes: Annotated[float, typer.Option("--megabytes", metavar="N", help="Most megabytes, about.")] = 40.0,
    jobs: Jobs = None,
) -> None:
    """Packs the recordings that a recipe is trained and validated on into few megabytes, as Opus.

    The layout stays, so that the copy is trained on like the data set. Scores on it choose between weights and are not
    those of the data set itself.

    [bold]Examples[/bold]

    unbraid prepare pack corpus/ pack/ --recipe speech
    unbraid train speech --data pack/ --init speech --set resident=true
    """
    from unbraid.cli.train import find_recipe
    from unbraid.data.prepare.pack import prepare_pack
    from unbraid.models.catalog import build_model

    config = find_recipe(recipe).config
    spec = build_model(config.model).spec
    events = prepare_pack(
        data,
        out,
        layout=config.layout,
        sample_rate=spec.sample_rate,
        num_channels=spec.num_channels,
        megabytes=megabytes,
        jobs=jobs or os.cpu_count() or 1,
    )
    _run(events)


@prepare.command("list")
def make_list(
    data: Annotated[Path, typer.Argument(metavar="DIR", help="Folder of the data set.")],
    out: Annotated[Path, typer.Argument(metavar="FILE", help="The list to write, a CSV file.")],
    split: Annotated[
        Literal["train", "valid", "test"], typer.Option(help="Split whose recordings are mixed.")
    ] = "test",
    count: Annotated[int, typer.Option(metavar="N", min=1, help="Number of mixtures.")] = 200,
    seed: Annotated[int, typer.Option(metavar="N", help="Another number draws other mixtures.")] = 0,
    noise: Annotated[bool, flag("--noise", "A recording of the source noise behind the speakers of each.")] = False,
    layout: Annotated[str, typer.Option(metavar="NAME", help="Its layout, see `unbraid check-data --list`.")] = "auto",
) -> None:
    """Draws a fixed list of mixtures once, to score models on the same ones every time.

    Of dialogue, music and effects it makes scenes of 12 s, of anything else pairs of different speakers, at levels
    within 5 dB of each other. The same seed draws the same list.

    [bold]Examples[/bold]

    unbraid prepare list corpus/ mine.csv --split test --count 100
    unbraid evaluate speech corpus/ --list mine.csv
    """
    from unbraid.data.lists.draw import write_drawn_list

    made = write_drawn_list(data, out, split=split, count=count, seed=seed, noise=noise, layout=layout)
    complain(f"{made} mixtures are in {out}", kind="")


def _run(events: Generator[PrepareEvent, None, None]) -> None:
    """Draws how it goes; the status is not 0 if anything failed."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from unbraid.data.prepare.tasks import Failed, Planned, Prepared, Wrote

    columns = (
        TextColumn("preparing"),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TimeRemainingColumn(compact=True),
        TextColumn("left"),
    )
    made = skipped = failed = 0
    with Progress(*columns, console=Console(stderr=True), transient=True, disable=not is_terminal()) as bars:
        bar = bars.add_task("", total=None)
        try:
            for event in events:
                if isinstance(event, Planned):
                    bars.update(bar, total=event.total)
                elif isinstance(event, Prepared):
                    made, skipped = made + (not event.skipped), skipped + event.skipped
                    bars.advance(bar)
                elif isinstance(event, Failed):
                    failed += 1
                    bars.advance(bar)
                    complain(f"{event.name}: {event.message}")
                elif isinstance(event, Wrote):
                    complain(f"{event.text} are in {event.path}", kind="")
        except KeyboardInterrupt:
            events.close()  # waits for the files that are being written, and leaves no parts of others
            raise KeyboardInterrupt("what is done is kept; the same command resumes from there") from None
    parts = [f"{made} done"]
    if skipped:
        parts.append(f"{skipped} were there already")
    if failed:
        parts.append(f"{failed} failed")
    complain(", ".join(parts), kind="")
    if failed:
        raise typer.Exit(1)

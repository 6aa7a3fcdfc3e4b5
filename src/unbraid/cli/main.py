"""The command line: one module per command, imported when it is asked for; inside them what is heavy to import."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, cast

import typer
from typer.core import TyperCommand, TyperGroup

import unbraid
from unbraid.cli.commands import COMMANDS, LazyCommands, import_help_formatter
from unbraid.cli.start import begin_command
from unbraid.errors import UnbraidError
from unbraid.options import why_invalid
from unbraid.separation.process import tune_process


class _Commands(TyperGroup):
    """Turns what users can mend into one sentence and a status; defects of ours keep their traceback."""

    def __init__(self, **settings) -> None:
        super().__init__(**settings)
        self.commands = cast(dict[str, Any], LazyCommands())
        self._listing = False

    def list_commands(self, ctx):
        return list(self.commands)

    def get_command(self, ctx, cmd_name):
        if self._listing:
            return TyperCommand(cmd_name, help=COMMANDS[cmd_name].summary)
        return super().get_command(ctx, cmd_name)

    @contextmanager
    def _commands_are_only_listed(self) -> Iterator[None]:
        self._listing = True
        try:
            yield
        finally:
            self._listing = False

    def format_help(self, ctx, formatter):
        import_help_formatter()
        with self._commands_are_only_listed():
            super().format_help(ctx, formatter)

    def shell_complete(self, ctx, incomplete):
        with self._commands_are_only_listed():
            return super().shell_complete(ctx, incomplete)

    def resolve_command(self, ctx, args):
        from unbraid.cli.defaults import read_defaults

        # No command has a dot in its name: a recording was named without one.
        if args and args[0] not in self.commands and ("." in args[0] or Path(args[0]).exists()):
            from unbraid.files.names import printable

            ctx.fail(f"'{printable(args[0])}' is no command; to separate it: unbraid separate {printable(args[0])}")
        found = super().resolve_command(ctx, args)
        # The doctor runs whatever is wrong with a file of settings, and says it.
        if found[0] != "doctor":
            defaults = read_defaults(self, ctx)
            ctx.default_map = {
                command: {name: default.value for name, default in table.items()} for command, table in defaults.items()
            }
        return found

    def invoke(self, ctx):
        try:
            begin_command()
            return super().invoke(ctx)
        except typer.BadParameter as error:
            found = getattr(error.__cause__, "errors", None)
            if found is not None:
                error.message = why_invalid(found()[0])
            raise
        except UnbraidError as error:
            from unbraid.cli.messages import complain
            from unbraid.cli.settings import in_options

            # A program further down the pipe that has seen enough is nothing to complain about.
            if not isinstance(error.__cause__, BrokenPipeError):
                complain(in_options(error))
            raise typer.Exit(1) from error
        except BrokenPipeError as error:
            raise typer.Exit(1) from error
        except KeyboardInterrupt as error:
            from unbraid.cli.messages import complain

            complain(f"interrupted; {str(error) or 'nothing half-written is left behind'}", kind="")
            raise typer.Exit(130) from error


_OLD_OPTIONS = {"mend-samples": "replace-nonfinite"}
"""Options by names of earlier releases, which still work and are not shown."""

app = typer.Typer(
    name="unbraid",
    cls=_Commands,
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={
        "help_option_names": ["-h", "--help"],
        "token_normalize_func": lambda name: _OLD_OPTIONS.get(name, name),
    },
)


def _print_version(wanted: bool) -> bool:
    if wanted:
        typer.echo(f"unbraid {unbraid.__version__}")
        raise typer.Exit
    return wanted


@app.callback()
def unbraid_command(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Audio source separation: a recording in, one file per source out.

    [bold]Examples[/bold]

    unbraid separate talk.wav
        two people talking, one file each, in separated/speech/talk/
    unbraid models list
        what can be separated
    unbraid separate --help
        all settings, with more examples
    """


def main() -> None:
    """Entry point of the console script."""
    # Schedulers end a job so; as an exception it lets temporary files be removed.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    tune_process()  # before any command imports torch
    app(prog_name="unbraid")


if __name__ == "__main__":
    main()

"""`optdsl`: finds the command and runs it."""

import importlib
import os
import signal
import sys
from typing import NoReturn

import click

from optdsl.cli.output import INTERRUPTED, fail, report_errors, say
from optdsl.diagnostics import OptError, did_you_mean, nearest

COMMANDS: dict[str, str] = {
    "check": "Find the errors of programs.",
    "fmt": "Format programs in the one layout.",
    "inspect": "Show everything static about a program.",
    "equal": "Tell whether two programs are the same.",
    "compile": "Write a program as standalone Python source.",
    "certify": "Compare what a program does under JAX and under torch.",
    "simplify": "Make a program shorter without loss.",
    "train": "Train a task with a program.",
    "tune": "Sweep a program's learning rate and weight decay.",
    "compare": "Compare programs fairly: all tuned alike, on fresh seeds.",
    "identify": "Tell which known optimizer a program is, or is nearest to.",
    "evolve": "Search for a better program.",
    "funnel": "Try a search's best programs on larger tasks.",
    "fidelity": "Tell whether small tasks rank optimizers as larger ones do.",
    "report": "Make one self-contained page about a search.",
    "functions": "List the functions of the language.",
    "tasks": "List the built-in tasks.",
    "stdlib": "List the programs of the standard library.",
}
"""Name and summary; NAME's code is `optdsl.cli.NAME:command`, imported when it is called."""


QUICK = ("check", "fmt", "inspect", "equal")
"""The commands that people and editors call all the time."""


class Commands(click.Group):
    """Imports a command only when it is used: `check` must not wait for JAX."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """All commands in the table's order."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command, or None."""
        if cmd_name not in COMMANDS:
            return None
        if cmd_name in QUICK:
            # NumPy's linear algebra starts its threads when it is imported, and nothing here needs
            # it: they would be a quarter of the processor time.
            os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
        return importlib.import_module(f"optdsl.cli.{cmd_name}").command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Suggest a name for an unknown one."""
        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            help = did_you_mean(nearest(args[0], COMMANDS))
            ctx.fail(f"no command `{args[0]}`" + (f"; {help}" if help else ""))
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List commands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="optdsl")
def cli() -> None:
    """A language, a compiler and a search for neural-network optimizers.

    FILE is a path, the name of a stdlib program such as `lion`, or `-`.
    """


def main(args: list[str] | None = None) -> NoReturn:
    """The console script; `args` are by default those of the process."""
    args = sys.argv[1:] if args is None else args
    for arg in args:
        if not _is_text(arg):
            fail(f"the argument {arg!a} is not valid UTF-8")
    try:
        # Not `cli.main`, which makes its own exit codes of interrupts and closed pipes.
        with cli.make_context("optdsl", list(args)) as context:
            cli.invoke(context)
    except OptError as error:
        sys.exit(report_errors(error.diagnostics))
    except click.exceptions.Exit as exit_:
        sys.exit(exit_.exit_code)
    except (KeyboardInterrupt, click.Abort):
        say()  # ends the line on which a terminal shows ^C
        fail("interrupted", INTERRUPTED)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except BrokenPipeError:
        # The reader of our output is gone (`| head`): nobody is left to tell.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(128 + signal.SIGPIPE)
    sys.exit(0)


def entry() -> None:
    """The command `optdsl`: `main`, but after Ctrl-C nothing is torn down.

    XLA's threads may still be compiling then, and crash a process that takes itself apart.
    """
    try:
        main()
    except SystemExit as end:
        if end.code == INTERRUPTED:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(INTERRUPTED)
        raise


def _is_text(arg: str) -> bool:
    """Whether a name can be written into JSON, TOML and sources: bytes that are no UTF-8 can't."""
    try:
        arg.encode()
    except UnicodeEncodeError:
        return False
    return True

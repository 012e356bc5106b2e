"""`optdsl compile FILE`."""

from pathlib import Path

import click

from optdsl.backends.emit import emit_source
from optdsl.cli.output import fail, say
from optdsl.files import write_text
from optdsl.frontend import find_source, load
from optdsl.ir import Program, print_program
from optdsl.passes.live import remove_dead_state
from optdsl.passes.protect import protect


@click.command("compile")
@click.argument("file", metavar="FILE")
@click.option("--target", type=click.Choice(["jax", "ir"]), default="jax", show_default=True)
@click.option("--protected", is_flag=True, help="Keep functions inside of their domains.")
@click.option("-o", "--output", metavar="OUT", help="Write to a file instead of standard output.")
def command(file: str, target: str, protected: bool, output: str | None) -> None:
    """Write a program as standalone Python source that needs jax and optax, but not optdsl.

    The target `ir` is what is compiled: the program as `.opt` text, one function a statement,
    without anything dead.
    """
    source = find_source(file)
    program = load(source)
    program = protect(program) if protected else program
    text = _print_live(program) if target == "ir" else emit_source(program, _name(source.name))
    if output is None:
        click.echo(text, nl=False)
        return
    try:
        write_text(Path(output), text)
    except OSError as error:
        fail(f"can't write {output}: {error.strerror}")
    say(f"wrote {output}")


def _print_live(program: Program) -> str:
    return print_program(remove_dead_state(program))


def _name(source: str) -> str:
    return "optimizer" if source.startswith("<") else Path(source).stem

"""`optdsl compile FILE`."""

from collections.abc import Callable
from pathlib import Path

import click

from optdsl.backends.emit import emit_source
from optdsl.backends.torch_emit import emit_torch_source
from optdsl.cli.output import fail, say
from optdsl.diagnostics import Source
from optdsl.files import write_text
from optdsl.frontend import find_source, load
from optdsl.ir import Program, print_program
from optdsl.passes.live import remove_dead_state
from optdsl.passes.protect import protect

TARGETS: dict[str, Callable[[Program, str], str]] = {
    "jax": emit_source,
    "torch": emit_torch_source,
    "ir": lambda program, _: print_program(remove_dead_state(program)),
}
"""The text of a program, by target; the name is that of the optimizer."""


@click.command("compile")
@click.argument("file", metavar="FILE")
@click.option("--target", type=click.Choice(list(TARGETS)), default="jax", show_default=True)
@click.option("--protected", is_flag=True, help="Keep functions inside of their domains.")
@click.option("-o", "--output", metavar="OUT", help="Write to a file instead of standard output.")
def command(file: str, target: str, protected: bool, output: str | None) -> None:
    """Write a program as standalone Python source that does not need optdsl.

    The target `jax` is an optax transformation, `torch` a `torch.optim.Optimizer`, and `ir` what is
    compiled: the program as `.opt` text, one function a statement, without anything dead.
    """
    source = find_source(file)
    program = load(source)
    program = protect(program) if protected else program
    text = TARGETS[target](program, name_of(source))
    if output is None:
        click.echo(text, nl=False)
        return
    try:
        write_text(Path(output), text)
    except OSError as error:
        fail(f"can't write {output}: {error.strerror}")
    say(f"wrote {output}")


def name_of(source: Source) -> str:
    """What to call the optimizer of a file."""
    return "optimizer" if source.name.startswith("<") else Path(source.name).stem

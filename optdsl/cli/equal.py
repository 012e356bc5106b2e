"""`optdsl equal A B`."""

import sys

import click

from optdsl.backends.fingerprint import behavioural_hash
from optdsl.cli.output import FINDINGS, fail, print_json, say
from optdsl.frontend import find_source, load
from optdsl.ir import Program, operand_text, print_operation
from optdsl.passes.compare import LEVELS, Comparison, compare


@click.command("equal")
@click.argument("a", metavar="A")
@click.argument("b", metavar="B")
@click.option(
    "--ignore-constants", is_flag=True, help="All constants and hyperparameters are equal."
)
@click.option("--level", type=click.Choice(LEVELS), default="structural", show_default=True)
@click.option("--json", "as_json", is_flag=True, help="Print one object.")
def command(a: str, b: str, ignore_constants: bool, level: str, as_json: bool) -> None:
    """Tell whether two programs are the same; exit 1 and show where they differ if not.

    Names don't matter, nor does anything dead. A hyperparameter counts as its default.
    """
    if level == "behavioural" and ignore_constants:
        fail("behaviour depends on the constants: leave out --ignore-constants, or --level")
    first, second = load(find_source(a)), load(find_source(b))
    if level == "behavioural":
        comparison = Comparison(behavioural_hash(first) == behavioural_hash(second))
    else:
        comparison = compare(first, second, level, ignore_constants)
    if as_json:
        print_json(
            {
                "equal": comparison.equal,
                "level": level,
                "only_a": _statements(first, comparison.only_first),
                "only_b": _statements(second, comparison.only_second),
            }
        )
    else:
        _show(a, b, first, second, level, comparison)
    sys.exit(0 if comparison.equal else FINDINGS)


def _show(
    a: str, b: str, first: Program, second: Program, level: str, comparison: Comparison
) -> None:
    verdict = "the same" if comparison.equal else "not the same"
    say(f"{a} and {b} are {verdict} at the {level} level")
    for name, program, only in (
        (a, first, comparison.only_first),
        (b, second, comparison.only_second),
    ):
        if only:
            say(f"only in {name}:")
            for line in _statements(program, only):
                say(f"    {line}")


def _statements(program: Program, positions: tuple[int, ...]) -> list[str]:
    return [
        print_operation(program, position)
        if position < len(program.operations)
        else f"return {', '.join(operand_text(program, output) for output in program.outputs)}"
        for position in positions
    ]

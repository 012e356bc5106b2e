"""`optdsl identify FILE`."""

from typing import TYPE_CHECKING, Any

import click

from optdsl.cli.output import print_json, say
from optdsl.frontend import find_source, load

if TYPE_CHECKING:
    from optdsl.comparison.identify import Identified, Near


@click.command("identify")
@click.argument("file", metavar="FILE")
@click.option("--json", "as_json", is_flag=True, help="Print one object.")
def command(file: str, as_json: bool) -> None:
    """Tell which optimizer of the standard library a program is, or is nearest to.

    First by form: the same program, by algebra, or but for its constants. Then by what it does: the
    distance is the share of its updates, on one stream of gradients, that another optimizer's leave
    unexplained, at a learning rate and with constants that suit. The nearest is chosen by distance
    and by how many functions are shared: constants can bend one optimizer into another.
    """
    program = load(find_source(file))

    from optdsl.comparison.identify import identify

    found = identify(program)
    if as_json:
        print_json(_to_json(found))
    else:
        _show(found)


def _show(found: "Identified") -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from optdsl.comparison.identify import SAME

    best, difference = found.nearest[0], found.difference
    if found.equal is None and best.distance < SAME:
        say(
            f"{found.name}: other statements, but the same updates at {best.factor:.3g} times the"
            " learning rate"
        )
    elif found.equal is None:
        say(
            f"no known optimizer; the nearest by updates and form is {found.name}, at a distance of"
            f" {best.distance:.3f}"
        )
    else:
        say(f"{found.name}: the same program ({found.equal})")
    for name, (default, value) in difference.constants.items():
        say(f"    {name} = {value:.6g} instead of {default:.6g}")
    for whose, statements in (
        ("the program", difference.only_program),
        (found.name, difference.only_known),
    ):
        if statements:
            say(f"only in {whose}, where differences begin:")
        for statement in statements:
            say(f"    {statement}")
    table = Table(title="Nearest known optimizers, by distance and functions shared")
    for head in ("optimizer", "with"):
        table.add_column(head)
    for head in ("distance", "learning rate", "functions shared"):
        table.add_column(head, justify="right")
    for near in found.nearest:
        cells = (near.name, _constants(near), f"{near.distance:.3f}", f"x {near.factor:.3g}")
        table.add_row(*map(Text, (*cells, f"{near.shared:.0%}")))
    Console(stderr=True, highlight=False).print(table)


def _constants(near: "Near") -> str:
    return ", ".join(f"{name} {value:.6g}" for name, value in near.constants.items())


def _to_json(found: "Identified") -> dict[str, Any]:
    difference = found.difference
    return {
        "name": found.name,
        "equal": found.equal,
        "distance": found.nearest[0].distance,
        "nearest": [
            {
                "name": near.name,
                "distance": near.distance,
                "learning_rate_factor": near.factor,
                "constants": near.constants,
                "functions_shared": near.shared,
            }
            for near in found.nearest
        ],
        "difference": {
            "only_program": difference.only_program,
            "only_known": difference.only_known,
            "constants": difference.constants,
        },
    }

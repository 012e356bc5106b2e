"""`optdsl inspect FILE`."""

from math import prod

import click

from optdsl.backends.properties import Properties
from optdsl.backends.sheet import ExampleLeaf, Sheet, static_sheet
from optdsl.cli.output import print_json, say
from optdsl.diagnostics import OptError
from optdsl.frontend import elaborate, find_source


@click.command("inspect")
@click.argument("file", metavar="FILE")
@click.option("--json", "as_json", is_flag=True, help="Print one object.")
def command(file: str, as_json: bool) -> None:
    """Show everything static about a program: liveness, state, cost, properties, hashes."""
    elaborated = elaborate(find_source(file))
    if elaborated.program is None:
        raise OptError(elaborated.diagnostics)
    sheet = static_sheet(elaborated)
    if as_json:
        print_json(sheet.to_json())
    else:
        _show(sheet)


def _show(sheet: Sheet) -> None:
    dead = f"; dead on lines {', '.join(map(str, sheet.dead_lines))}" if sheet.dead_lines else ""
    say(f"statements       {sheet.statements}, {sheet.live_statements} live{dead}")
    for i, state in enumerate(sheet.states):
        head = "state" if i == 0 else ""
        say(f"{head:<16} {state.name}: {state.kind}, {state.dtype}{'' if state.live else ', dead'}")
    for i, entry in enumerate(sheet.hyperparameters):
        head = "hyperparameters" if i == 0 else ""
        say(f"{head:<16} {entry.name} = {entry.default!r}{'' if entry.live else ', unused'}")
    _show_bytes(sheet)
    say(f"arithmetic       {sheet.arithmetic_per_weight} per weight")
    _show_properties(sheet.properties)
    for i, hazard in enumerate(sheet.hazards):
        head = "hazards" if i == 0 else ""
        sure, perhaps = HAZARDS[hazard.code]
        what = f"{sure} {hazard.example}" if hazard.example else f"{perhaps}; no run showed it"
        say(f"{head:<16} line {hazard.line}, `{hazard.function}`: {what}")
    for i, (level, digest) in enumerate(sheet.hash.items()):
        head = "hash" if i == 0 else ""
        say(f"{head:<16} {level:<11} {digest}")


def _show_bytes(sheet: Sheet) -> None:
    """Per weight, or of the examples where no number per weight holds for all shapes."""
    if not sheet.bytes_depend_on_shape:
        read, written = sheet.bytes_read_per_weight, sheet.bytes_written_per_weight
        say(f"bytes of state   {sheet.state_bytes_per_weight:g} per weight, for float32 weights")
        say(f"bytes of a step  {read:g} read and {written:g} written per weight")
        return
    for i, leaf in enumerate(sheet.example_leaves):
        head = "bytes of state" if i == 0 else ""
        share = leaf.state_bytes / prod(leaf.shape)
        shape = " by ".join(map(str, leaf.shape))
        which = f"a float32 {_what(leaf)} of {shape}, {leaf.state_bytes} in all"
        say(f"{head:<16} {share:g} per weight of {which}")
    for i, leaf in enumerate(sheet.example_leaves):
        head = "bytes of a step" if i == 0 else ""
        read, written = (n / prod(leaf.shape) for n in (leaf.bytes_read, leaf.bytes_written))
        say(f"{head:<16} {read:g} read and {written:g} written per weight of the {_what(leaf)}")


def _what(leaf: ExampleLeaf) -> str:
    return "matrix" if len(leaf.shape) == 2 else "vector"


HAZARDS = {
    "W201": ("divides by zero", "may divide by zero"),
    "W202": ("leaves its domain", "may leave its domain"),
}
"""What is said of a hazard that a run showed, and of one that is not excluded."""


def _show_properties(found: Properties) -> None:
    degree, without = found.gradient_degree, found.gradient_degree_without_epsilon
    if degree is not None:
        scale = f"gradients times c: update times c ** {degree:g}, exactly"
    elif without is not None:
        scale = f"gradients times c: update times c ** {without:g}, but for small added constants"
    else:
        scale = "no power of the gradients' scale, as far as can be proved"
    say(f"scale            {scale}")
    bound = "none is proved"
    if found.update_bound is not None:
        bound = f"{found.update_bound:g}, for lr = 1 and weights of zero"
    say(f"update's bound   {bound}")
    decay = OTHER_USES if found.weight_decay == "other" else found.weight_decay
    say(f"weight decay     {decay}")
    say(f"zero gradients   {ZERO_GRADIENT[found.zero_gradient]}")
    if found.first_update_ratio is not None:
        ratio = f"{found.first_update_ratio:.4g} times the 300th's, for one gradient"
        say(f"first update     {ratio}{'' if _is_one(found.first_update_ratio) else ': biased'}")
    say(f"a NaN gradient   {'stays in the state' if found.keeps_nan else 'leaves no trace'}")


OTHER_USES = "other: the update reads the weights, but not to add a multiple of them"

ZERO_GRADIENT = {
    "zero": "no update",
    "decay": "the weights decay",
    "moves": "the weights move",
    "NaN": "the update is not finite",
}


def _is_one(ratio: float) -> bool:
    return abs(ratio - 1) < 0.01

"""The longer diagnostics of elaboration, as functions of what went wrong."""

from collections.abc import Iterator, Sequence

from optdsl.diagnostics import Diagnostic, Label, Span
from optdsl.ir import Input
from optdsl.ops import Kind, Mismatch, OpDef, an, castable
from optdsl.syntax import ast

MAX_LISTED = 20

ORDINALS = ("first", "second", "third", "fourth")


def kind_mismatch(
    op: OpDef, written: str, mismatch: Mismatch, kind: Kind, nodes: Sequence[ast.Expression]
) -> Diagnostic:
    """E203 or E204: a function does not take arguments of these kinds.

    Args:
        op: the function.
        written: its name in the text.
        mismatch: the argument to blame, and what it must be.
        kind: what that argument is.
        nodes: all arguments.
    """
    node = nodes[mismatch.argument]
    what = f"`{node.text}` is" if isinstance(node, ast.Name) else "this is"
    meaning = {
        Kind.ARRAY: ": one number for each weight",
        Kind.PER_ARRAY: ": one number for each weight array",
    }.get(kind, "")
    code, help = "E203", "see the kinds in docs/language.md"
    if mismatch.wanted == "a scalar":
        code, help = "E204", "reduce it first, as in `mean(...)` or `global_norm(...)`"
    if op.name == "interpolate" and kind == Kind.ARRAY:
        help = "reduce it first, as in `mean(v)`, or write `x + a * (y - x)`"
    message = f"the {ORDINALS[mismatch.argument]} argument of `{written}` must be {mismatch.wanted}"
    return Diagnostic(code, message, node.span, f"{what} {an(kind)}{meaning}", help=help)


def branches_mismatch(
    name: str, condition: Span, branches: Sequence[tuple[Kind, Span | None]]
) -> Diagnostic:
    """E203: a variable that the branches of an `if` leave with kinds that don't fit.

    Args:
        name: the variable.
        condition: that of the `if`.
        branches: the kind and the place of what each branch assigns.
    """
    related = tuple(Label(span, an(kind)) for kind, span in branches if span)
    return Diagnostic(
        "E203",
        f"the branches leave `{name}` with kinds that don't fit",
        condition,
        related=related,
        help="use another name for one of them; see the kinds in docs/language.md",
    )


def wrong_count(node: ast.Call, args: Sequence[str], required: int | None = None) -> Diagnostic:
    """E201: a call with too few or too many arguments."""
    name = node.function.text
    wanted = f"{len(args)}" if required in (None, len(args)) else f"{required} to {len(args)}"
    return Diagnostic(
        "E201",
        f"`{name}` takes {wanted} argument{'' if wanted == '1' else 's'}, not {len(node.args)}",
        node.span,
        help=f"write `{name}({_listed(args)})`",
    )


def _listed(names: Sequence[str]) -> str:
    """The names with commas, the first of them if there are very many."""
    return ", ".join([*names[:MAX_LISTED], "..."] if len(names) > MAX_LISTED else names)


def duplicates(function: ast.Function) -> Iterator[Diagnostic]:
    """E103: parameters with the same name."""
    seen: dict[str, Span] = {}
    for parameter in function.parameters:
        name, span = parameter.name.text, parameter.name.span
        if name in seen:
            related = (Label(seen[name], "first declared here"),)
            message = f"the parameter `{name}` is declared twice"
            yield Diagnostic("E103", message, span, related=related, help="rename one of them")
        seen.setdefault(name, span)


def helper_annotations(function: ast.Function) -> Iterator[Diagnostic]:
    """E306: annotated parameters of a helper."""
    for parameter in function.parameters:
        if parameter.annotation:
            yield Diagnostic(
                "E306",
                f"`{parameter.name.text}` can't be annotated",
                parameter.annotation.name.span,
                "a helper takes values of any kind",
                help="remove the annotation",
            )


def wrong_outputs(
    returned: ast.Return, states: Sequence[Input], kinds: Sequence[Kind | None]
) -> Iterator[Diagnostic]:
    """E302, E303 and E304: what `train` returns.

    Args:
        returned: the `return`.
        states: the state variables, in order.
        kinds: those of the values returned; None where there is an error already.
    """
    if len(kinds) != 1 + len(states):
        names = _listed(["update", *(state.name for state in states)])
        these = f"{len(kinds)} value{'s' if len(kinds) > 1 else ''}"
        yield Diagnostic(
            "E303",
            f"`train` returns {these}; it must return {1 + len(states)}",
            returned.span,
            note="the update, then each state variable's new value in the parameters' order",
            help=f"write `return {names}`",
        )
        return
    if kinds[0] not in (Kind.ARRAY, None):
        yield Diagnostic(
            "E302",
            "the update must be an array",
            returned.values[0].span,
            f"this is {an(kinds[0])}",
            help="return a number for each weight, such as a multiple of the gradient",
        )
    for state, kind, node in zip(states, kinds[1:], returned.values[1:], strict=True):
        if kind is not None and not castable(kind, state.kind):
            yield Diagnostic(
                "E304",
                f"`{state.name}` is {an(state.kind)} and can't become {an(kind)}",
                node.span,
                help=f"annotate it in the parameters: `{state.name}: {kind}`",
            )

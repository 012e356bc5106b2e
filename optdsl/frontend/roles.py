"""Parameters of `train`: which input, hyperparameter or state variable each one is."""

from optdsl.diagnostics import Diagnostic, Label, did_you_mean, nearest
from optdsl.ir import INPUT_KINDS, Input, Role
from optdsl.ops import KINDS, Kind
from optdsl.syntax import ast

ROLE_NAMES: dict[str, Role] = {
    "w": Role.WEIGHT,
    "weight": Role.WEIGHT,
    "g": Role.GRADIENT,
    "grad": Role.GRADIENT,
    "gradient": Role.GRADIENT,
    "lr": Role.LEARNING_RATE,
    "step": Role.STEP,
}
"""The names that make a parameter an input given by the training loop."""

PASSED = {"learning_rate": "`lr`", "labels": "the labels of weight arrays"}
"""What Python passes to an optimizer beside its hyperparameters."""

DTYPES = ("bfloat16", "float16", "float32", "float64")
"""What a state variable can be stored in."""


def inputs_of(function: ast.Function) -> tuple[tuple[Input, ...], list[Diagnostic]]:
    """The inputs that `train`'s parameters declare."""
    inputs: list[Input] = []
    diagnostics: list[Diagnostic] = []
    by_role: dict[Role, ast.Parameter] = {}
    for parameter in function.parameters:
        name, span = parameter.name.text, parameter.name.span
        role = ROLE_NAMES.get(name)
        if role is None and parameter.default is not None:
            role = Role.HYPERPARAMETER
        if role is Role.HYPERPARAMETER and name in PASSED:
            message = f"a hyperparameter can't be called `{name}`"
            why = f"an optimizer takes {PASSED[name]} as `{name}`"
            instead = "call it `lr`, or choose" if name == "learning_rate" else "choose"
            diagnostics.append(
                Diagnostic("E104", message, span, why, help=f"{instead} another name")
            )
        if role in by_role:
            related = (Label(by_role[role].name.span, "the same input"),)
            message = f"`{name}` and `{by_role[role].name.text}` are both the {role.value}"
            diagnostics.append(
                Diagnostic("E308", message, span, related=related, help="remove one of them")
            )
        kind, dtype = Kind.ARRAY, None
        if role is None:
            role = Role.STATE
            if parameter.annotation:
                kind, dtype, errors = _annotation(parameter.annotation)
                diagnostics += errors
        else:
            kind = INPUT_KINDS[role]
            diagnostics += _unwanted(parameter, role)
            if role is not Role.HYPERPARAMETER:
                by_role.setdefault(role, parameter)
        default = parameter.default.value if parameter.default else None
        default = default if role is Role.HYPERPARAMETER else None
        inputs.append(Input(name, role, kind, default, dtype))
    return tuple(inputs), diagnostics


def _unwanted(parameter: ast.Parameter, role: Role) -> list[Diagnostic]:
    """Annotations and defaults that an input or hyperparameter can't have."""
    found: list[Diagnostic] = []
    name = parameter.name.text
    if parameter.annotation:
        what = "a hyperparameter: always a scalar" if role is Role.HYPERPARAMETER else "an input"
        found.append(
            Diagnostic(
                "E306",
                f"`{name}` can't be annotated",
                parameter.annotation.name.span,
                f"`{name}` is {what}",
                help="remove the annotation",
            )
        )
    if parameter.default and role is not Role.HYPERPARAMETER:
        found.append(
            Diagnostic(
                "E306",
                f"`{name}` can't have a default",
                parameter.default.span,
                f"`{name}` is the {role.value}, given by the training loop",
                help="remove the default, or choose another name for a hyperparameter",
            )
        )
    return found


def _annotation(annotation: ast.Annotation) -> tuple[Kind, str | None, list[Diagnostic]]:
    """The kind and stored dtype that an annotation names."""
    first, second = annotation.name, annotation.argument
    if second is None:
        if first.text in KINDS:
            return KINDS[first.text], None, []
        if first.text in DTYPES:
            return Kind.ARRAY, first.text, []
        return Kind.ARRAY, None, [_unknown(first, (*KINDS, *DTYPES), "kind or dtype")]
    errors = [
        _unknown(identifier, known, what)
        for identifier, known, what in ((first, tuple(KINDS), "kind"), (second, DTYPES, "dtype"))
        if identifier.text not in known
    ]
    if errors:
        return Kind.ARRAY, None, errors
    return KINDS[first.text], second.text, []


def _unknown(identifier: ast.Identifier, known: tuple[str, ...], what: str) -> Diagnostic:
    help = did_you_mean(nearest(identifier.text, known)) or f"write one of {', '.join(known)}"
    return Diagnostic("E305", f"unknown {what} `{identifier.text}`", identifier.span, help=help)

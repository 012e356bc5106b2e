"""Standalone Python source for a program: what `optdsl compile` prints.

The source needs jax and optax, but not optdsl, and is written as one would write it by hand. It has
the meaning of `jax_lowering.py` and is made from the same expressions of the function table.

A program is cut into stages. Stage 0 is what can be computed from the inputs; a sum over the whole
tree begins the next one. In each stage scalars are computed once, then arrays leaf by leaf, by an
inner function, then sums. Most programs have one stage, so one inner function.

Nothing of a program's text gets into the source but identifiers, numbers, and a docstring, each
checked or escaped here.
"""

import builtins
import keyword
import re
import textwrap
import unicodedata
from collections.abc import Sequence
from importlib.metadata import version

from optdsl.backends.emit_body import Body, Field, Number, emit_body, emit_number
from optdsl.backends.emit_statements import shape_of
from optdsl.ir import Program, Role
from optdsl.ops import NUMBERS, OPS, Kind
from optdsl.passes.by_leaf import LABEL, has_labels
from optdsl.passes.first_weights import begun_with_weights, with_first_sums
from optdsl.passes.fold import fold_constants
from optdsl.passes.hashing import structural_hash
from optdsl.passes.live import live_values, remove_dead_state

WIDTH = 100
INDENT = "    "

NO_WEIGHTS = "the update depends on the weights: pass them as `params`"

HELPERS: dict[str, str] = {
    "cast": '''
def cast(new, old):
    """`new` in the shape and dtype of `old`, so that those never change."""
    return jnp.broadcast_to(new, jnp.shape(old)).astype(jnp.result_type(old))
''',
    "after": '''
def after(new, earlier):
    """`new`, but made after `earlier`: a number equals itself or not, which XLA does not see."""
    return jnp.where((earlier == earlier) | (earlier != earlier), new, 0)
''',
    "with_decay": '''
def with_decay(x, decay, w):
    """`x + decay * w`, where w is read only if the decay is not the number 0."""
    if isinstance(decay, int | float) and decay == 0:
        return x.astype(jnp.result_type(x, w))
    return x + decay * w
''',
    "label_tree": '''
def label_tree(labels, tree):
    """A number for each leaf: of a prefix of the tree, or of a function of the tree."""
    return jax.tree.broadcast(labels(tree) if callable(labels) else labels, tree)
''',
    "matrix": '''
def matrix(x):
    """An array as a matrix: its last dimension as columns."""
    return x.reshape(math.prod(x.shape[:-1]), x.shape[-1] if x.ndim else 1)
''',
    "spread": '''
def spread(x, like):
    """One number for each row or column, repeated in the shape of `like`."""
    return jnp.broadcast_to(x, matrix(like).shape).reshape(like.shape)
''',
}
"""What the source defines where it is used, in this order."""

_GUARDS: dict[str, tuple[str, str]] = {
    HELPERS["cast"]: (
        "    return",
        "    if isinstance(old, optax.MaskedNode):  # a leaf without this state\n"
        "        return old\n    return",
    ),
    HELPERS["spread"]: (
        "    return",
        "    if isinstance(like, optax.MaskedNode):  # a leaf without this state\n"
        "        return like\n    return",
    ),
    HELPERS["after"]: (
        "    return",
        "    if isinstance(new, optax.MaskedNode) or isinstance(earlier, optax.MaskedNode):\n"
        "        return new\n    return",
    ),
}
"""What helpers do first where some leaves lack some state."""

RESERVED = frozenset(
    {*keyword.kwlist, *keyword.softkwlist, *dir(builtins), *HELPERS}
    | {"jax", "jnp", "optax", "NamedTuple", "learning_rate", "updates", "state", "params"}
    | {"extra_args", "count", "scalar", "structure", "init_fn", "update_fn", "steps", "leaves"}
    | {"x", "y", "old", "new", "rate", "terms", "columns", "new_state", "NO_PARAMS", "leaf"}
    | {"made", "earlier", "label", "labels", "tree"}
    | {"math", "np", *re.findall(r"def (\w+)", " ".join(op.helper for op in OPS))}
    | {f"leaf_{stage}" for stage in range(1, 100)}
)
"""Names that the source has other uses for."""


def emit_source(program: Program, name: str) -> str:
    """The source of a module that defines `name(learning_rate, **hyperparameters)`.

    Args:
        program: a valid program.
        name: what to call the optimizer; made an identifier.
    """
    digest = structural_hash(program)
    whole = made_ready(program)
    summed = with_first_sums(whole)
    name = safe_identifier(name)
    reserved = RESERVED | {name, _class_name(name)}
    body = emit_body(summed.program, reserved)
    reserved |= {*body.hyperparameters}
    starts: list[Number] = []
    for total in summed.sums.values():
        starts.append(emit_number(total, reserved))
        reserved |= {*re.findall(r"\w+", "\n".join(starts[-1].lines))}
    factory = _factory(whole, body, starts, name)
    weights = f'\nNO_PARAMS = "{NO_WEIGHTS}"\n' if "NO_PARAMS" in factory else ""
    helpers = [text for helper, text in HELPERS.items() if _is_used(helper, factory)]
    if _is_used("spread", factory) and HELPERS["matrix"] not in helpers:
        helpers.insert(-1, HELPERS["matrix"])
    if any(field.kept for field in body.fields):
        helpers = [text.replace(*_GUARDS.get(text, ("", ""))) for text in helpers]
    helpers += dict.fromkeys(op.helper for op, _, _ in whole.operations if op.helper)
    numpy = "import numpy as np\n" if re.search(r"\bnp\.", factory) else ""
    parts = [
        module_docstring(whole.doc, digest),
        "\nimport math" * (HELPERS["matrix"] in helpers),
        "\nfrom typing import NamedTuple\n\nimport jax\nimport jax.numpy as jnp\n"
        f"{numpy}import optax\n",
        weights,
        _state_class(body, _class_name(name)),
        *("\n" + helper for helper in helpers),
        factory,
    ]
    return "".join(parts)


def made_ready(program: Program) -> Program:
    """What there is to write, with its hyperparameters as inputs."""
    live = remove_dead_state(fold_constants(program))
    return begun_with_weights(without_dead_hyperparameters(live))


def _is_used(helper: str, text: str) -> bool:
    return f"{helper}(" in text


def safe_identifier(name: str) -> str:
    """A name as a Python identifier that shadows nothing."""
    name = unicodedata.normalize("NFKC", name)  # as Python does to identifiers
    cleaned = "".join(c if (c.isalnum() or c == "_") and c.isprintable() else "_" for c in name)
    cleaned = cleaned.lstrip("_") or "optimizer"
    if not cleaned.isidentifier():
        cleaned = f"optimizer_{cleaned}"
    if not cleaned.isidentifier():
        cleaned = "optimizer"
    return f"{cleaned}_" if cleaned in RESERVED else cleaned


def docstring(text: str, indent: str = "") -> str:
    """A docstring's literal, whatever the text."""
    safe = "".join(c if c.isprintable() or c == "\n" else "?" for c in text)
    lines: list[str] = []
    for paragraph in safe.split("\n\n"):
        lines += ["", *_filled(paragraph, WIDTH - len(indent) - 6)]
    lines = lines[1:]
    body = f"\n{indent}".join(lines)
    body = "\n".join(line.rstrip() for line in body.split("\n"))
    # Wrapped first: a line may not end between a backslash and what it escapes.
    body = body.replace("\\", "\\\\")
    body = re.sub(r'"{3,}|"+\Z', lambda quotes: '\\"' * len(quotes[0]), body)
    closing = f"\n{indent}" if len(lines) > 1 else ""
    return f'{indent}"""{body}{closing}"""'


def _filled(paragraph: str, width: int) -> list[str]:
    """The lines of a paragraph, broken anew if they are too long."""
    lines = [line.strip() for line in paragraph.split("\n")]
    if all(len(line) <= width for line in lines):
        return lines
    return textwrap.wrap(" ".join(lines), width)


def without_dead_hyperparameters(program: Program) -> Program:
    """The program without the hyperparameters that its update does not depend on."""
    live = live_values(program)
    keep = {
        i
        for i, entry in enumerate(program.inputs)
        if entry.role is not Role.HYPERPARAMETER or live[i]
    }
    return program.rebuilt(frozenset(keep), list(range(len(program.operations))))


def module_docstring(doc: str, digest: str) -> str:
    """The docstring of emitted source: the program's own, and where the source is from."""
    made = f"Made by optdsl {version('optdsl')} from a program with the hash {digest}."
    return docstring(f"{doc}\n\n{made}" if doc else made) + "\n"


def _class_name(name: str) -> str:
    return f"{camel_case(name)}State"


def camel_case(name: str) -> str:
    """A name as classes have it."""
    return "".join(part.capitalize() for part in name.split("_") if part)


def _state_class(body: Body, name: str) -> str:
    lines = [
        f"class {name}(NamedTuple):",
        f'{INDENT}"""The number of steps taken, and the state variables."""',
        "",
        f"{INDENT}count: jax.Array",
    ]
    for field in body.fields:
        kind = "jax.Array" if field.kind == Kind.SCALAR else "optax.Updates"
        lines.append(f"{INDENT}{field.name}: {kind}")
    return "\n\n" + "\n".join(lines) + "\n"


def _factory(program: Program, body: Body, starts: Sequence[Number], name: str) -> str:
    parameters = ["learning_rate" if body.reads_rate else "learning_rate=None"]
    defaults = [program.inputs[i].default for i in program.with_role(Role.HYPERPARAMETER)]
    named: list[str] = []
    if defaults:
        pairs = zip(body.hyperparameters, defaults, strict=True)
        named += [f"{hyper}={default!r}" for hyper, default in pairs]
    if has_labels(program):
        named.append("labels=0")
    parameters += ["*", *named] if named else []
    inner, state = INDENT * 2, _class_name(name)
    fields = ["count=count", *(f"{field.name}={field.new}" for field in body.fields)]
    lines = [
        call(f"def {name}", parameters, ":"),
        docstring(program.doc or "The optimizer.", INDENT),
        *([] if body.reads_rate else [f"{INDENT}del learning_rate"]),
        "",
        *_init(body, starts, state),
        "",
        f"{INDENT}def update_fn(updates, state, params=None, **extra_args):",
        *(inner + line if line else "" for line in body.lines),
        call(f"new_state = {state}", fields, "", inner),
        f"{inner}return structure.unflatten({body.update}), new_state",
        "",
        f"{INDENT}return optax.GradientTransformationExtraArgs(init_fn, update_fn)",
    ]
    return "\n\n" + "\n".join(lines) + "\n"


def call(head: str, args: list[str], tail: str, indent: str = "") -> str:
    """`head(args)tail` on one line, else with the arguments on one, else on one for each."""
    flat = f"{indent}{head}({', '.join(args)}){tail}"
    if len(flat) <= WIDTH:
        return flat
    together = f"{indent}{INDENT}{', '.join(args)}"
    if len(together) <= WIDTH:
        return f"{indent}{head}(\n{together}\n{indent}){tail}"
    rows = "".join(f"{indent}{INDENT}{arg},\n" for arg in args)
    return f"{indent}{head}(\n{rows}{indent}){tail}"


def _init(body: Body, starts: Sequence[Number], state: str) -> list[str]:
    inner = INDENT * 2
    lines = [f"{INDENT}def init_fn(params):"]
    zeros = body.fields[: len(body.fields) - len(starts)]
    initial = [*map(_initial, zeros), *(f"jnp.asarray({each.text}, scalar)" for each in starts)]
    if any("scalar" in text for text in initial):
        lines.append(f"{inner}scalar = jnp.result_type(jnp.float32, *jax.tree.leaves(params))")
    lines += [inner + line if line else "" for start in starts for line in start.lines]
    pairs = zip(body.fields, initial, strict=True)
    fields = ["count=jnp.zeros([], jnp.int32)", *(f"{f.name}={text}" for f, text in pairs)]
    lines.append(call(f"return {state}", fields, "", inner))
    return lines


def _initial(field: Field) -> str:
    """A state variable's first value."""
    dtype = f"jnp.{field.dtype}" if field.dtype else "scalar"
    if field.kind == Kind.SCALAR:
        return f"jnp.zeros([], {dtype})"
    if field.kind == Kind.ARRAY:
        function = "jnp.array" if field.begins_as_weights else "jnp.zeros_like"
        if not field.dtype and not field.kept:
            return f"jax.tree.map({function}, params)"
        zeros = f"jnp.zeros_like(w, dtype={dtype})" if field.dtype else f"{function}(w)"
    else:
        shape = "[]" if field.kind in NUMBERS else shape_of(field.kind, "w")
        zeros = f"jnp.zeros({shape}, {dtype})"
    if not field.kept:
        return f"jax.tree.map(lambda w: {zeros}, params)"
    inner = "\n" + INDENT * 4
    labels = re.search(rf"\b{LABEL.lower}\b", field.kept)
    of, trees = (
        ("w, label", ["params,", "label_tree(labels, params),"]) if labels else ("w", ["params,"])
    )
    kept = re.sub(" (and|or) ", rf"{inner}\1 ", field.kept)
    parts = [f"lambda {of}: {zeros}", f"if {kept}", "else optax.MaskedNode(),", *trees]
    return f"jax.tree.map({inner}{inner.join(parts)}\n{INDENT * 3})"

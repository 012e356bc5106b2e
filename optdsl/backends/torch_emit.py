"""Standalone PyTorch source for a program: what `optdsl compile --target torch` prints.

The source defines a subclass of `torch.optim.Optimizer` and needs torch, but not optdsl. It has the
meaning of the optax transformation that `emit.py` writes, of the same statements and names, and
differs in what belongs to torch:

- hyperparameters and `lr` are entries of the parameter groups, each group's own, and so are scalar
  state variables; a sum over the tree is over the parameters of all groups;
- a parameter without a gradient is left out, of sums too.
"""

import builtins
import keyword

from optdsl.backends.emit import (
    INDENT,
    WIDTH,
    call,
    camel_case,
    docstring,
    made_ready,
    module_docstring,
    safe_identifier,
)
from optdsl.backends.emit_statements import shape_of
from optdsl.backends.torch_body import Stored, TorchBody, emit_torch_body
from optdsl.backends.torch_foreach import why_not
from optdsl.backends.torch_foreach_table import FOREACH_HELPERS
from optdsl.backends.torch_statements import for_writing
from optdsl.ir import Program
from optdsl.ops import NUMBERS, OPS, Kind
from optdsl.passes.by_leaf import has_labels
from optdsl.passes.hashing import structural_hash
from optdsl.passes.infer import infer

LATE = """
LATE = (
    "a parameter's first gradient must come in its group's first step, from which the group "
    "counts: add the parameter later, as a group of its own"
)
"""

WITH_FOREACH = "`foreach` is torch.optim's: None updates parameters together, on CPUs too."

NO_FOREACH = "`foreach` changes nothing: {} are not for many parameters at once."

RULE = "from torch.optim.optimizer import _default_to_fused_or_foreach\n"

HELPERS: dict[str, str] = {
    "number": '''
def number(x):
    """A number of Python's as a tensor: 1 / 0 is then infinity, and no error."""
    return torch.as_tensor(x, dtype=torch.float64)
''',
    **{op.name: op.torch_helper for op in OPS if op.torch_helper},
    **FOREACH_HELPERS,
    "promoted": '''
def promoted(x, y):
    """x in the dtype that it and y have in common."""
    return x.to(torch.promote_types(x.dtype, y.dtype))
''',
    "matrix": '''
def matrix(x):
    """A tensor as a matrix: its last dimension as columns."""
    return x.reshape(math.prod(x.shape[:-1]), x.shape[-1] if x.ndim else 1)
''',
    "spread": '''
def spread(x, like):
    """One number for each row or column, repeated in the shape of `like`."""
    return torch.broadcast_to(x, matrix(like).shape).reshape(like.shape)
''',
}
"""What the source defines where it is used, in this order."""

TORCH_RESERVED = frozenset(
    {*keyword.kwlist, *keyword.softkwlist, *dir(builtins), *HELPERS}
    | {"torch", "math", "self", "closure", "loss", "group", "groups", "params", "defaults", "LATE"}
    | {"saved", "key", "is_first", "foreach", "initial_lr", "state", "scalar", "columns"}
    | {"alike", "states", "scalars", "label"}
    | {f"{name}_{stage}" for name in ("kept", "leaves") for stage in range(1, 100)}
)
"""Names that the source has other uses for, in scope or as keys of a group."""


def emit_torch_source(program: Program, name: str) -> str:
    """The source of a module that defines an optimizer class.

    Args:
        program: a valid program.
        name: what to call the optimizer; the class has it in camel case.
    """
    digest = structural_hash(program)
    prepared = made_ready(program)
    class_name = torch_class_name(name)
    body = emit_torch_body(prepared, TORCH_RESERVED | {class_name})
    code = _class(prepared, body, class_name)
    used: list[str] = []
    for helper, text in reversed(HELPERS.items()):  # a helper may call an earlier one
        if any(f"{helper}(" in part for part in (code, *used)):
            used.insert(0, text)
    return "".join(
        [
            module_docstring(prepared.doc, digest),
            "\nimport math\n" if HELPERS["matrix"] in used else "",
            "\nimport torch\n",
            RULE if body.together else "",
            LATE if "(LATE)" in code else "",
            *("\n" + text for text in used),
            code,
        ]
    )


def torch_class_name(name: str) -> str:
    """The name of the class that `emit_torch_source` defines."""
    return safe_identifier(camel_case(safe_identifier(name)))


def _class(program: Program, body: TorchBody, name: str) -> str:
    inner = INDENT * 2
    lines = [
        f"class {name}(torch.optim.Optimizer):",
        docstring(program.doc or "The optimizer.", INDENT),
        "",
        *_init(body, program),
        "",
        f"{INDENT}@torch.no_grad()",
        f"{INDENT}def step(self, closure=None):",
        f'{inner}"""Take a step; `closure`, if there is one, computes the loss and gradients."""',
        f"{inner}loss = None",
        f"{inner}if closure is not None:",
        f"{inner}{INDENT}with torch.enable_grad():",
        f"{inner}{INDENT}{INDENT}loss = closure()",
        *(inner + line for line in body.lines),
        f"{inner}return loss",
        "",
        *_ways(body),
        *_with_gradients(body, name),
        *_load_state_dict(body),
    ]
    return "\n\n" + "\n".join(lines) + "\n"


def _init(body: TorchBody, program: Program) -> list[str]:
    values = [entry.default for entry in program.inputs if entry.default is not None]
    pairs = zip(body.hyperparameters, values, strict=True)
    parameters = ["self", "params", "lr" if body.reads_rate else "lr=1.0"]
    labels = ["label"] * has_labels(program)
    parameters += ["*", *(f"{key}={value!r}" for key, value in pairs)]
    parameters += [*(f"{key}=0" for key in labels), "foreach=None"]
    entries = [f'"{key}": {key}' for key in ("lr", *body.hyperparameters, *labels, "foreach")]
    defaults = f"defaults = {{{', '.join(entries)}}}"
    inner = INDENT * 2
    if len(inner + defaults) <= WIDTH:
        rows = [inner + defaults]
    else:
        rows = [f"{inner}defaults = {{", *(f"{inner}{INDENT}{entry}," for entry in entries)]
        rows.append(f"{inner}}}")
    rows.append(f"{inner}super().__init__(params, defaults)")
    about = why_not(program, infer(program))
    about = WITH_FOREACH if about is None else NO_FOREACH.format(about)
    return [call("def __init__", parameters, ":", INDENT), f'{inner}"""{about}"""', *rows]


def _ways(body: TorchBody) -> list[str]:
    """The methods that update a group, where it has two."""
    if not body.together:
        return []
    inner = INDENT * 2
    return [
        f"{INDENT}def _update_each(self, group, params):",
        f'{inner}"""Update one parameter after the other."""',
        *(inner + line for line in body.each),
        "",
        f"{INDENT}def _update_together(self, group, params):",
        f'{inner}"""The same by foreach: a list has an entry for each parameter."""',
        *(inner + line if line else "" for line in body.together),
        "",
    ]


def _with_gradients(body: TorchBody, name: str) -> list[str]:
    """The method that begins a step for a group."""
    w, inner = body.parameter, INDENT * 2
    counts, group_counts = body.reads_step, body.reads_step and body.group_counts
    stateful = "; makes their state" if body.states or counts else ""
    what = "The group's parameters that have a gradient" + stateful
    lines = [
        "def _with_gradients(self, group):",
        f'{INDENT}"""{what}{", and counts the step" if counts else ""}."""',
        f'{INDENT}params = [{w} for {w} in group["params"] if {w}.grad is not None]',
    ]
    shared = [_made("group", state, "params[0]") for state in body.states if _is_shared(state)]
    if group_counts:
        shared.insert(0, 'group["step"] = torch.zeros((), dtype=scalar)')
        lines += [f'{INDENT}is_first = "step" not in group']
    if shared:
        key = shared[0].partition(" = ")[0].removeprefix("group[").removesuffix("]")
        condition = "is_first" if group_counts else f"{key} not in group"
        lines += [f"{INDENT}if params and {condition}:", *_with_scalar(shared, "params[0]", inner)]
    if group_counts:
        lines += [f"{INDENT}if params:", inner + for_writing('group["step"]') + ".add_(1)"]
    lines += [f"{INDENT}for {w} in params:", f"{inner}if {w}.grad.is_sparse:"]
    lines += [f'{inner}{INDENT}raise RuntimeError("{name} does not support sparse gradients")']
    own = [_made("state", state, w) for state in body.states if not _is_shared(state)]
    if counts and not group_counts:
        own.insert(0, 'state["step"] = torch.zeros((), dtype=scalar)')
    if own:
        lines += [f"{inner}state = self.state[{w}]"]
        if group_counts:
            lines += [f"{inner}if not state and not is_first:"]
            lines += [f"{inner}{INDENT}raise RuntimeError(LATE)"]
        lines += [f"{inner}if not state:", *_with_scalar(own, w, inner + INDENT)]
    if counts and not group_counts:
        lines += [inner + for_writing('state["step"]') + ".add_(1)"]
    return [INDENT + line for line in [*lines, f"{INDENT}return params"]]


def _is_shared(state: Stored) -> bool:
    return state.kind == Kind.SCALAR


def _with_scalar(lines: list[str], like: str, indent: str) -> list[str]:
    """The statements, after one that gives the dtype of scalars where they use it."""
    scalar = f"scalar = torch.promote_types({like}.dtype, torch.float32)"
    used = any("dtype=scalar" in line for line in lines)
    return [indent + line for line in ([scalar] if used else []) + lines]


def _made(owner: str, state: Stored, like: str) -> str:
    """The statement that makes a state variable: zeros."""
    dtype = f"torch.{state.dtype}" if state.dtype else ""
    target = f'{owner}["{state.name}"]'
    if state.begins_as_weights:
        return f"{target} = {like}.clone()"
    if state.kind == Kind.ARRAY:
        return f"{target} = torch.zeros_like({like}{f', dtype={dtype}' if dtype else ''})"
    shape = "()" if state.kind in NUMBERS else shape_of(state.kind, like)
    return f"{target} = {like}.new_zeros({shape}, dtype={dtype or 'scalar'})"


def _load_state_dict(body: TorchBody) -> list[str]:
    """The method that keeps the dtypes of state that is not in the parameters' own."""
    own = [s.name for s in body.states
           if s.kind != Kind.SCALAR and (s.dtype or s.kind != Kind.ARRAY)]  # fmt: skip
    if not own:
        return []
    w, keys = body.parameter, "".join(f'"{name}", ' for name in own)
    keys = keys if len(own) == 1 else keys.removesuffix(", ")
    text = f'''
def load_state_dict(self, state_dict):
    """Load what `state_dict` gave, in the dtypes it had and not in those of the parameters."""
    super().load_state_dict(state_dict)
    saved = [key for group in state_dict["param_groups"] for key in group["params"]]
    params = [{w} for group in self.param_groups for {w} in group["params"]]
    for key, {w} in zip(saved, params, strict=True):
        for name in ({keys.strip() if len(own) == 1 else keys}):
            if key in state_dict["state"]:
                value = state_dict["state"][key][name]
                self.state[{w}][name] = value.to({w}.device, copy=True)'''
    return [INDENT + line if line else "" for line in text.split("\n")]

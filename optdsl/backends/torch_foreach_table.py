"""Functions of the table by foreach, and functions that emitted source needs for them."""

_SAME_NAME = ("abs", "cos", "sin", "tan", "exp", "log", "sinh", "cosh", "tanh", "expm1", "log10",
              "log2", "log1p", "sqrt", "reciprocal")  # fmt: skip

FOREACH: dict[str, dict[str, str]] = {
    **{name: {"L": f"torch._foreach_{name}({{x}})"} for name in _SAME_NAME},
    "arcsin": {"L": "torch._foreach_asin({x})"},
    "arccos": {"L": "torch._foreach_acos({x})"},
    "arctan": {"L": "torch._foreach_atan({x})"},
    "sign": {"L": "foreach_sign({x})"},
    "exp10": {"L": "torch._foreach_pow(10.0, {x})"},
    "square": {"L": "torch._foreach_mul({x}, {x})"},
    "cube": {"L": "torch._foreach_mul(torch._foreach_mul({x}, {x}), {x})"},
    "+": {"L.": "torch._foreach_add({x}, {y})", "NL": "torch._foreach_add({y}, {x})"},
    "-": {
        "L.": "torch._foreach_sub({x}, {y})",
        "NL": "torch._foreach_add(torch._foreach_neg({y}), {x})",
    },
    "*": {"L.": "torch._foreach_mul({x}, {y})", "NL": "torch._foreach_mul({y}, {x})"},
    "/": {
        "L.": "torch._foreach_div({x}, {y})",
        "NL": "torch._foreach_mul(torch._foreach_reciprocal({y}), {x})",
    },
    "power": {
        "LL": "torch._foreach_pow({x}, {y})",
        "LN": "torch._foreach_pow({x}, {y})",
        "NL": "torch._foreach_pow({x}, {y})",
    },
    "maximum": {
        "LL": "torch._foreach_maximum({x}, {y})",
        "L.": "torch._foreach_clamp_min({x}, {y})",
        ".L": "torch._foreach_clamp_min({y}, {x})",
    },
    "minimum": {
        "LL": "torch._foreach_minimum({x}, {y})",
        "L.": "torch._foreach_clamp_max({x}, {y})",
        ".L": "torch._foreach_clamp_max({y}, {x})",
    },
    "interpolate": {
        "LLN": "torch._foreach_add(torch._foreach_mul({x}, 1 - {a}), torch._foreach_mul({y}, {a}))",
    },
}
"""Functions by foreach, for what their arguments are: L a list of tensors, S a list of scalars, N a
number, and a dot for any of them; the first that fits. They do the arithmetic that torch does for
the plain expression: `1 / x` is a reciprocal there too."""


FOREACH_HELPERS: dict[str, str] = {
    "foreach_sign": '''
def foreach_sign(xs):
    """-1, 0 or 1, and NaN where x is NaN: of all else the clamps make 1."""
    ones = torch._foreach_clamp_max(torch._foreach_clamp_min(xs, 1.0), 1.0)
    return torch._foreach_mul(torch._foreach_sign(xs), ones)
''',
    "takes_foreach": '''
def takes_foreach(group, params):
    """Whether to update a group by foreach; it takes no tensor as a rate or a hyperparameter."""
    if any(isinstance(value, torch.Tensor) for value in group.values()):
        return False
    if group.get("foreach") is not None:
        return group["foreach"]
    kinds = (torch.Tensor, torch.nn.Parameter)
    if all(w.device.type == "cpu" and type(w) in kinds for w in params):
        return True
    return _default_to_fused_or_foreach(params, False)[1]
''',
    "is_cut": '''
PIECE = 2**16


def is_cut(w):
    """Whether a parameter is updated in pieces, since temporary tensors of it fit in no cache."""
    return w.numel() > PIECE and w.device.type == "cpu" and not torch.compiler.is_compiling()
''',
    "pieces": '''
def pieces(w, state):
    """A parameter, its gradient and its state, in pieces where it is cut; those of other kinds, and
    that lie otherwise in memory, in one piece.
    """
    many = is_cut(w)
    arrays = {key: x for key, x in state.items() if x.shape == w.shape} if many else {}
    together = [w, w.grad, *arrays.values()]
    if not (many and all(type(x.data) is torch.Tensor and x.is_contiguous() for x in together)):
        yield w, w.grad, state
        return
    for w, g, *parts in zip(*(x.view(-1).split(PIECE) for x in together), strict=True):
        yield w, g, {**state, **dict(zip(arrays, parts, strict=True))}
''',
    "batches": '''
BATCH = 2**17


def batches(params, states):
    """Parameters, gradients and states to be taken together: by device and dtype, and on a CPU no
    more than fit in its cache.
    """
    lists, sizes = {}, {}
    for w in params:
        if is_cut(w):
            yield from (([x], [g], [state]) for x, g, state in pieces(w, states[w]))
            continue
        key = w.device, w.dtype
        if w.device.type == "cpu" and not torch.compiler.is_compiling():
            sizes[key] = sizes.get(key, 0) + w.numel()
            key = (*key, sizes[key] // BATCH)
        lists.setdefault(key, []).append(w)
    for ws in lists.values():
        yield ws, [w.grad for w in ws], [states[w] for w in ws]
''',
    "by_step": '''
def by_step(scalars, steps):
    """Lists of what `scalars` gives for each step, computed once for equal steps."""
    if torch.compiler.is_compiling():  # no values are known
        return zip(*map(scalars, steps), strict=True)
    counts = [step.item() for step in steps]
    one_each = dict(zip(counts, steps, strict=True))
    known = {count: scalars(step) for count, step in one_each.items()}
    return zip(*(known[count] for count in counts), strict=True)
''',
    "numbers": '''
def numbers(xs):
    """Scalars as Python's numbers, which foreach is fast with; torch.compile keeps the tensors."""
    return list(xs) if torch.compiler.is_compiling() else [x.item() for x in xs]
''',
}
"""What the source defines where it is used, in this order."""

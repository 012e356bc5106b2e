"""Expressions of the syntax tree as values of the IR: names, kinds, calls, inlined helpers."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import chain

from optdsl.diagnostics import Diagnostic, Label, Span, did_you_mean, nearest
from optdsl.frontend.messages import kind_mismatch, wrong_count
from optdsl.frontend.roles import ROLE_NAMES
from optdsl.ir import Builder
from optdsl.ops import BY_NAME, CALLABLE, Kind, Mismatch
from optdsl.syntax import ast

MAX_STATEMENTS = 10_000
"""How many statements a program may have after inlining and unrolling."""

MAX_DEPTH = 100
"""How many expressions, loops and helpers may stand in one another for a helper to be called."""

Value = int | float | None
"""A value of the builder, a constant, or None for what follows from an error."""

COMPARISON_ROWS: dict[str, tuple[str, tuple[int, ...]]] = {
    "<": ("where<", (0, 1, 2, 3)),
    "<=": ("where<=", (0, 1, 2, 3)),
    "==": ("where==", (0, 1, 2, 3)),
    ">": ("where<", (1, 0, 2, 3)),
    ">=": ("where<=", (1, 0, 2, 3)),
    "!=": ("where==", (0, 1, 3, 2)),
}
"""`where` with each comparison of a and b: the row of the table, and the order of a, b, x, y."""

OPERATOR_ROWS = {"**": "power"}
"""Operators that are not called in the table as they are written."""


@dataclass
class Trace:
    """What one statement of `train` did, over all its repetitions in a loop."""

    line: int
    operations: set[int] = field(default_factory=set[int])
    """Positions of the operations that it made."""
    reads: set[int] = field(default_factory=set[int])
    """Positions in `Elaborated.statements` of those whose variables it read."""


@dataclass(frozen=True)
class Helper:
    """A helper `def` and the helpers that its body can call."""

    function: ast.Function
    scope: "Helpers"


@dataclass(frozen=True)
class Binding:
    """What a variable holds, and the position of the statement of `train` that assigned it."""

    value: Value
    statement: int | None = None
    span: Span | None = None


Scope = dict[str, Binding]

Helpers = dict[str, Helper | None]
"""What a file's functions can call; None for what was to be declared in a place with an error."""


class Stop(Exception):
    """A limit was reached; going on would only waste time."""


class Expressions(ABC):
    """Elaborates expressions; a subclass the statements around them."""

    def __init__(self, helpers: Helpers) -> None:
        """`helpers` are the callable `def`s by name, the file's own and the imported."""
        self.helpers = helpers
        self.diagnostics: list[Diagnostic] = []
        self.places: set[tuple[str, str, int, int]] = set()
        self.builder = Builder(())
        self.kinds: list[Kind] = []
        self.statements = 0
        self.depth = 0
        self.calls: list[tuple[ast.Function, Span]] = []
        self.called: set[int] = set()
        self.traces: dict[int, tuple[int, Trace]] = {}
        self.returned: list[Trace] = []
        self.in_one_branch: dict[str, Span | None] = {}
        """Names that only one branch of an `if` assigns, and where."""
        self.statement: int | None = None
        self.trace: Trace | None = None

    @abstractmethod
    def _body(self, function: ast.Function, scope: Scope) -> list[Value] | None:
        """Run a function's body; the values it returns, or None without a `return`."""

    def _expression(self, node: ast.Expression, scope: Scope) -> Value:
        match node:
            case ast.Number():
                return node.value
            case ast.Name():
                return self._read(node, scope)
            case ast.Missing():
                return None
            case _:
                self.depth += 1
                value = self._compound(node, scope)
                self.depth -= 1
                return value

    def _compound(self, node: ast.Negation | ast.Binary | ast.Call, scope: Scope) -> Value:
        match node:
            case ast.Negation():
                operand = self._expression(node.operand, scope)
                if isinstance(operand, float):
                    return -operand
                return self._operation("*", [-1.0, operand], [node.operand] * 2, node.span)
            case ast.Binary():
                return self._binary(node, scope)
            case ast.Call():
                if node.function.text in self.helpers:
                    return self._single(node, scope)
                return self._call(node, scope)

    def _read(self, node: ast.Name, scope: Scope) -> Value:
        binding = scope.get(node.text)
        if binding is not None:
            if self.trace is not None and not self.calls and binding.statement is not None:
                self.trace.reads.add(binding.statement)
            return binding.value
        if self._is_reported(node.text):
            return None
        near = nearest(node.text, scope, errors=len(self.diagnostics))
        if node.text in CALLABLE or node.text in self.helpers:
            help = f"call it: `{node.text}(...)`"
        elif node.text in self.in_one_branch:
            help = "assign it in both branches of the `if`, or before it"
            near = []
        elif node.text in ROLE_NAMES:
            help = f"the training loop gives `{node.text}` to `train`: declare it as a parameter"
            near = []
        else:
            help = did_you_mean(near) or "assign it above, or declare it as a parameter"
        declared = [scope[name].span for name in near]
        related = tuple(Label(span, "a similar name is here") for span in declared if span)
        assigned = self.in_one_branch.get(node.text)
        if assigned:
            related = (Label(assigned, "assigned in one branch only"),)
        self._error("E101", f"unknown name `{node.text}`", node.span, "not declared", related[:1],
                    help=help)  # fmt: skip
        return None

    def _is_reported(self, name: str) -> bool:
        """Whether there is an error already where the name was to be declared, or in the name."""
        return self.helpers.get(name, True) is None or ast.why_unusable(name) != ""

    def _binary(self, node: ast.Binary, scope: Scope) -> Value:
        if node.operator in ast.COMPARISONS:
            self._expression(node.left, scope)
            self._expression(node.right, scope)
            self._error(
                "E202",
                "a comparison outside of `where`",
                node.span,
                help="write `where(a < b, x, y)`: x where it holds, y elsewhere",
            )
            return None
        operands = [node.left, node.right]
        values = [self._expression(operand, scope) for operand in operands]
        row = OPERATOR_ROWS.get(node.operator, node.operator)
        return self._operation(row, values, operands, node.span)

    def _call(self, node: ast.Call, scope: Scope) -> Value:
        name = node.function.text
        if name == "where":
            return self._where(node, scope)
        op = CALLABLE.get(name)
        if op is None and not self._is_reported(name):
            usable = (name for name, helper in self.helpers.items() if helper is not None)
            known = chain(CALLABLE, usable, ("where",))
            near = nearest(name, known, errors=len(self.diagnostics))
            help = did_you_mean(near) or "`optdsl functions` lists them all"
            if name in scope:
                help = f"`{name}` is a variable: write `{name} * (...)` to multiply"
            self._error("E102", f"unknown function `{name}`", node.function.span, help=help)
        values = [self._expression(arg, scope) for arg in node.args]
        if op is None:
            return None
        if len(values) != len(op.args):
            self._report(wrong_count(node, op.args))
            return None
        return self._operation(op.name, values, node.args, node.span, written=name)

    def _where(self, node: ast.Call, scope: Scope) -> Value:
        if len(node.args) != 3:
            self._report(wrong_count(node, ("a < b", "x", "y")))
            return None
        condition, *branches = node.args
        if not isinstance(condition, ast.Binary) or condition.operator not in COMPARISON_ROWS:
            self._expression(condition, scope)
            message = "the first argument of `where` must be a comparison"
            self._error("E202", message, condition.span, help="compare it, as in `x > 0`")
            return None
        nodes = [condition.left, condition.right, *branches]
        row, order = COMPARISON_ROWS[condition.operator]
        values = [self._expression(arg, scope) for arg in nodes]
        values = [values[i] for i in order]
        return self._operation(row, values, [nodes[i] for i in order], node.span)

    def _operation(
        self,
        name: str,
        values: Sequence[Value],
        nodes: Sequence[ast.Expression],
        span: Span,
        written: str = "",
    ) -> Value:
        """Append an operation of the table, if its arguments' kinds fit.

        `written` is the function's name in the text, where that may be an alias.
        """
        args = [value for value in values if value is not None]
        if len(args) < len(values):
            return None
        self._count(span)
        op = BY_NAME[name]
        kinds = tuple(self._kind(arg) for arg in args)
        kind = op.kind(kinds)
        if isinstance(kind, Mismatch):
            self._report(kind_mismatch(op, written or name, kind, kinds[kind.argument], nodes))
            return None
        value = self.builder.add(op, args)
        self.kinds.append(kind)
        if self.trace is not None:
            self.trace.operations.add(value - len(self.builder.inputs))
        return value

    def _kind(self, value: int | float) -> Kind:
        return self.kinds[value] if isinstance(value, int) else Kind.SCALAR

    # Helpers

    def _single(self, node: ast.Call, scope: Scope) -> Value:
        values = self._helper_call(node, scope)
        if values is None:
            return None
        if len(values) != 1:
            self._error(
                "E205",
                f"`{node.function.text}` returns {len(values)} values",
                node.span,
                help="assign them first: `a, b = ...`",
            )
            return None
        return values[0]

    def _helper_call(self, node: ast.Call, scope: Scope) -> list[Value] | None:
        """Inline a helper; the values it returns."""
        helper, name = self.helpers[node.function.text], node.function.text
        values = [self._expression(arg, scope) for arg in node.args]
        if helper is None:
            return None
        function = helper.function
        parameters = function.parameters
        required = max((i for i, p in enumerate(parameters, 1) if p.default is None), default=0)
        if not required <= len(values) <= len(parameters):
            self._report(wrong_count(node, [p.name.text for p in parameters], required))
            return None
        recursive = any(active is function for active, _ in self.calls)
        if recursive or self.depth >= MAX_DEPTH:
            what = f"`{name}` calls itself" if recursive else "helpers call too deeply"
            help = "write it without recursion" if recursive else "let fewer helpers call others"
            self._error("E403", what, node.span, help=help)
            return None
        self._count(node.span, added=len(parameters))
        local: Scope = {}
        for parameter, value in zip(
            parameters, values + [None] * (len(parameters) - len(values)), strict=True
        ):
            local[parameter.name.text] = Binding(value)
        for parameter in parameters[len(values) :]:
            assert parameter.default is not None
            local[parameter.name.text] = Binding(parameter.default.value)
        self.called.add(id(function))
        self.calls.append((function, node.span))
        outer, self.helpers = self.helpers, helper.scope
        self.depth += 1
        try:
            return self._body(function, local)
        finally:
            self.depth -= 1
            self.helpers = outer
            self.calls.pop()

    # Limits and errors

    def _count(self, span: Span, added: int = 1) -> None:
        """Count statements or operations against the limit."""
        self.statements += added
        if self.statements > MAX_STATEMENTS:
            self._error(
                "E402",
                f"more than {MAX_STATEMENTS:,} statements after inlining and unrolling",
                self.calls[0][1] if self.calls else span,
                help="use fewer or shorter loops and helpers",
            )
            raise Stop

    def _error(
        self,
        code: str,
        message: str,
        span: Span,
        label: str = "",
        related: tuple[Label, ...] = (),
        note: str = "",
        help: str = "",
    ) -> None:
        self._report(Diagnostic(code, message, span, label, related, note, help))

    def _report(self, found: Diagnostic) -> None:
        """Report once for each place, however often a helper or a loop's body is gone through."""
        place = (found.code, found.span.source.name, found.span.line, found.span.column)
        if place in self.places:
            return
        self.places.add(place)
        if self.calls and self.calls[-1][1] != self.calls[-1][0].name.span:
            label = Label(self.calls[-1][1], "in this call")
            found = replace(found, related=(*found.related, label))
        self.diagnostics.append(found)

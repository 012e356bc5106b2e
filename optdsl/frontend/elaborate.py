"""From the syntax tree to the IR: names, kinds, inlined helpers, unrolled loops.

Every error of a file is reported, and none twice: what follows from an error has no value (None),
and an expression with a part that has no value is silently without one too.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import chain

from optdsl.diagnostics import Diagnostic, Label, Span, did_you_mean, nearest
from optdsl.frontend.messages import (
    branches_mismatch,
    duplicates,
    helper_annotations,
    kind_mismatch,
    wrong_count,
    wrong_outputs,
)
from optdsl.frontend.roles import ROLE_NAMES, inputs_of
from optdsl.ir import Builder, Input, Program, Role
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
class Elaborated:
    """The program (None where there are errors), the diagnostics, and where statements went."""

    program: Program | None
    diagnostics: tuple[Diagnostic, ...]
    statements: tuple[Trace, ...] = ()
    """One for each assignment of `train`, in order."""
    returned: tuple[Trace, ...] = ()
    """One for each value that `train` returns."""


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


@dataclass(frozen=True)
class Condition:
    """The condition of an `if`: its row of the table, see COMPARISON_ROWS, and the two sides."""

    node: ast.Binary
    row: str
    order: tuple[int, ...]
    left: int | float
    right: int | float

    @property
    def known(self) -> bool | None:
        """Whether it holds, if both sides are constants."""
        if isinstance(self.left, int) or isinstance(self.right, int):
            return None
        sides = (self.left, self.right, True, False)
        return bool(BY_NAME[self.row].ref(*(sides[i] for i in self.order)))


Scope = dict[str, Binding]

Helpers = dict[str, Helper | None]
"""What a file's functions can call; None for what was to be declared in a place with an error."""


class _Stop(Exception):
    """A limit was reached; going on would only waste time."""


class Elaborator:
    """Elaborates one file's functions."""

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

    def train(self, function: ast.Function, doc: str) -> Program | None:
        """Elaborate the entry; None where there were errors."""
        inputs, errors = inputs_of(function)
        self.diagnostics += errors
        self.diagnostics += duplicates(function)
        self.builder = Builder(inputs)
        self.kinds = [entry.kind for entry in inputs]
        scope: Scope = {
            parameter.name.text: Binding(i, None, parameter.name.span)
            for i, parameter in enumerate(function.parameters)
        }
        try:
            values = self._body(function, scope)
        except _Stop:
            return None
        if values is None:
            return None
        outputs = self._check_outputs(function.body[-1], inputs, values)
        if outputs is None or self.diagnostics:
            return None
        return self.builder.finish(outputs, doc)

    def check_helper(self, helper: Helper) -> None:
        """Look for errors in a helper's parameters, and in its body if nothing called it."""
        self.diagnostics += [*duplicates(helper.function), *helper_annotations(helper.function)]
        if id(helper.function) in self.called or self.statements > MAX_STATEMENTS:
            return
        scope: Scope = {p.name.text: Binding(None) for p in helper.function.parameters}
        self.calls.append((helper.function, helper.function.name.span))
        outer, self.helpers = self.helpers, helper.scope
        self.depth = 0
        try:
            self._body(helper.function, scope)
        except _Stop:
            pass
        finally:
            self.helpers = outer
            self.calls.pop()

    # Statements

    def _body(self, function: ast.Function, scope: Scope) -> list[Value] | None:
        """Run a function's body; the values it returns, or None without a `return`."""
        *statements, last = function.body
        self._statements(statements, scope)
        if isinstance(last, ast.Return):
            return self._returned(last, scope)
        self._statements([last], scope)
        if not isinstance(last, ast.Broken) and not self._has_return(function.body):
            name = function.name
            self._error(
                "E307",
                f"`{name.text}` has no `return`",
                name.span,
                help="end it with `return update, ...`"
                if name.text == "train"
                else "end it with `return value`",
            )
        return None

    def _statements(self, statements: Sequence[ast.Statement], scope: Scope) -> None:
        for statement in statements:
            match statement:
                case ast.Assign():
                    self._assign(statement, scope)
                case ast.ForLoop():
                    self._for_loop(statement, scope)
                case ast.If():
                    self._if(statement, scope)
                case ast.Return():
                    self._error(
                        "E307",
                        "a `return` before the end",
                        statement.span,
                        help="move it to the end; choose between values with `where`",
                    )
                case ast.Broken():
                    for name in statement.targets:
                        scope[name] = Binding(None)
                    body = [node for node in statement.body if not isinstance(node, ast.Return)]
                    self._statements(body, scope)

    def _begin(self, statement: ast.Statement) -> None:
        """Count a statement, and trace it if it is one of `train`'s own."""
        self._count(statement.span)
        if self.calls:
            return
        new = (len(self.traces), Trace(statement.span.line))
        self.statement, self.trace = self.traces.setdefault(id(statement), new)

    def _returned(self, statement: ast.Return, scope: Scope) -> list[Value]:
        self._count(statement.span)
        values: list[Value] = []
        for value in statement.values:
            if not self.calls:
                self.trace = Trace(statement.span.line)
                self.returned.append(self.trace)
            values.append(self._expression(value, scope))
        return values

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
            raise _Stop

    def _assign(self, statement: ast.Assign, scope: Scope) -> None:
        self._begin(statement)
        targets = statement.targets
        if len(targets) == 1:
            before = len(self.builder.operations)
            values = [self._expression(statement.value, scope)]
            first = values[0]
            if isinstance(first, int) and first >= len(self.builder.inputs) + before:
                self.builder.rename(first, targets[0].text)
        else:
            values = self._unpacked(statement, scope)
        for target, value in zip(targets, values, strict=True):
            scope[target.text] = Binding(value, self.statement, target.span)

    def _unpacked(self, statement: ast.Assign, scope: Scope) -> list[Value]:
        """The values of `a, b = helper(...)`."""
        value, wanted = statement.value, len(statement.targets)
        if isinstance(value, ast.Call) and value.function.text in self.helpers:
            values = self._helper_call(value, scope)
            if values is None or len(values) == wanted:
                return values or [None] * wanted
            counted = f"{len(values)} value{'s' if len(values) > 1 else ''}"
            message = f"`{value.function.text}` returns {counted}, not {wanted}"
            span = statement.targets[0].span.to(statement.targets[-1].span)
            self._error("E205", message, span, help=f"write {len(values)} names here")
        else:
            self._expression(value, scope)
            message = "only a helper that returns several values can be unpacked"
            self._error("E205", message, value.span, help="assign one name at a time")
        return [None] * wanted

    def _for_loop(self, loop: ast.ForLoop, scope: Scope) -> None:
        count = self._loop_count(loop)
        self.depth += 1
        for i in range(count):
            self._count(loop.span)
            scope[loop.variable.text] = Binding(float(i), None, loop.variable.span)
            self._statements(loop.body, scope)
        self.depth -= 1

    def _loop_count(self, loop: ast.ForLoop) -> int:
        if loop.function.text != "range":
            self._error(
                "E401",
                f"a loop goes over `range(N)`, not `{loop.function.text}`",
                loop.function.span,
                help="write `for i in range(3):`",
            )
            return 0
        count = loop.count
        if not isinstance(count, ast.Number) or not count.text.isdigit():
            help = "write the number itself, as in `range(3)`"
            self._error("E401", "a loop's bound must be a whole number", count.span, help=help)
            return 0
        if count.value > MAX_STATEMENTS:
            help = f"loops are unrolled: write at most {MAX_STATEMENTS}"
            self._error("E401", "the loop's bound is too large", count.span, help=help)
            return 0
        return int(count.value)

    def _if(self, node: ast.If, scope: Scope) -> None:
        """Both branches are elaborated; `where` chooses what the variables hold afterwards."""
        self._begin(node)
        condition = self._condition(node.condition, scope)
        own = self.statement, self.trace
        then, other = dict(scope), dict(scope)
        self.depth += 1
        self._statements(node.body, then)
        self._statements(node.orelse.body if node.orelse else (), other)
        self.depth -= 1
        self.statement, self.trace = own
        for name in {**then, **other}:
            if name in then and name in other:
                scope[name] = self._joined(name, condition, then[name], other[name])
            else:
                self.in_one_branch[name] = (then.get(name) or other[name]).span

    def _condition(self, node: ast.Expression, scope: Scope) -> "Condition | None":
        if not isinstance(node, ast.Binary) or node.operator not in COMPARISON_ROWS:
            self._expression(node, scope)
            if not isinstance(node, ast.Missing):
                message = "the condition of an `if` must be a comparison"
                self._error("E202", message, node.span, help="compare it, as in `x > 0`")
            return None
        row, order = COMPARISON_ROWS[node.operator]
        left, right = (self._expression(side, scope) for side in (node.left, node.right))
        return None if left is None or right is None else Condition(node, row, order, left, right)

    def _joined(
        self, name: str, condition: "Condition | None", then: Binding, other: Binding
    ) -> Binding:
        """What a variable holds after the branches of an `if`."""
        if then is other:
            return then
        if condition is None or then.value is None or other.value is None:
            return Binding(None, None, then.span)
        reads = {each.statement for each in (then, other) if each.statement is not None}
        if self.trace is not None and not self.calls:
            self.trace.reads |= reads
        known = condition.known
        if known is not None:  # of a loop's variable
            return then if known else other
        if repr(then.value) == repr(other.value):
            return Binding(then.value, self.statement, then.span)
        values = [condition.left, condition.right, then.value, other.value]
        args = [values[i] for i in condition.order]
        kinds = tuple(self._kind(arg) for arg in args)
        op, node = BY_NAME[condition.row], condition.node
        kind = op.kind(kinds)
        self._count(node.span)
        if isinstance(kind, Mismatch):
            sides = [(self._kind(each), span) for each, span in
                     ((then.value, then.span), (other.value, other.span))]  # fmt: skip
            self._report(branches_mismatch(name, node.span, sides))
            return Binding(None, None, then.span)
        value = self.builder.add(op, args, name)
        self.kinds.append(kind)
        if self.trace is not None:
            self.trace.operations.add(value - len(self.builder.inputs))
        return Binding(value, self.statement if not self.calls else None, then.span)

    def _has_return(self, body: Sequence[ast.Statement]) -> bool:
        """Whether a `return` stands anywhere in a body."""
        return any(
            isinstance(each, ast.Return)
            or (isinstance(each, ast.ForLoop) and self._has_return(each.body))
            or (isinstance(each, ast.If) and self._has_return(each.body))
            or (isinstance(each, ast.If) and each.orelse and self._has_return(each.orelse.body))
            for each in body
        )

    # Expressions

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

    # Checks

    def _check_outputs(
        self, returned: ast.Statement, inputs: tuple[Input, ...], values: list[Value]
    ) -> list[int | float] | None:
        """The outputs, if their number and kinds are right."""
        assert isinstance(returned, ast.Return)
        states = [entry for entry in inputs if entry.role is Role.STATE]
        kinds = [None if value is None else self._kind(value) for value in values]
        for diagnostic in wrong_outputs(returned, states, kinds):
            self._report(diagnostic)
        known = [value for value in values if value is not None]
        return known if len(known) == len(values) else None

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

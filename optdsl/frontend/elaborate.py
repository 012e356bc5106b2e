"""From the syntax tree to the IR: the statements of `train` and of helpers, loops unrolled.

Every error of a file is reported, and none twice: what follows from an error has no value (None),
and an expression with a part that has no value is silently without one too.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from optdsl.diagnostics import Diagnostic
from optdsl.frontend.expressions import (
    COMPARISON_ROWS,
    MAX_STATEMENTS,
    Binding,
    Expressions,
    Helper,
    Scope,
    Stop,
    Trace,
    Value,
)
from optdsl.frontend.messages import (
    branches_mismatch,
    duplicates,
    helper_annotations,
    wrong_outputs,
)
from optdsl.frontend.roles import inputs_of
from optdsl.ir import Builder, Input, Program, Role
from optdsl.ops import BY_NAME, Mismatch
from optdsl.syntax import ast


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


class Elaborator(Expressions):
    """Elaborates one file's functions."""

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
        except Stop:
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
        except Stop:
            pass
        finally:
            self.helpers = outer
            self.calls.pop()

    # Statements

    def _body(self, function: ast.Function, scope: Scope) -> list[Value] | None:
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

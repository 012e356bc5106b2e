"""Statements of emitted torch source, and what belongs to whom: see `torch_body.py`.

Only a scalar that depends on the step count belongs to a parameter, since parameters count their
own steps, as in torch.optim: one without a gradient is left out and counts no step. Where a scalar
state variable depends on the step count, the group has to count.
"""

import ast
import re
from collections.abc import Callable, Iterable
from types import MappingProxyType

from optdsl.backends.emit_statements import Statements, method, parse
from optdsl.ir import Program, Role
from optdsl.ops import NUMBERS, Kind, OpDef, Over
from optdsl.ops.kinds import last_scalar
from optdsl.passes.by_leaf import LABEL, has_labels

INDENT = "    "

_BOUNDS = {"maximum": "min", "minimum": "max"}
"""The keyword of `torch.clamp` that does what a function of a tensor and a number does."""


class TorchStatements(Statements):
    """A program's statements in torch's words, for one parameter."""

    module = "torch"
    cast = ".to("
    along = MappingProxyType(
        {Over.ROW: ", dim=1, keepdim=True", Over.COLUMN: ", dim=0, keepdim=True"}
    )
    size = ".numel()"
    longest = 72  # statements stand deeper than those of a function

    def __init__(self, program: Program, reserved: frozenset[str]) -> None:
        """Nothing is written yet; see `Statements`."""
        super().__init__(program, reserved, {})
        names = self.names
        self.rate = only(program, Role.LEARNING_RATE)
        self.step = only(program, Role.STEP)
        self.hyperparameters = program.with_role(Role.HYPERPARAMETER)
        self.keys = {} if self.rate is None else {self.rate: "lr"}
        self.keys |= {v: names.of(v) for v in self.hyperparameters}
        self.numbers = {*(names.of(v) for v in self.keys), LABEL.lower}
        """Variables that hold Python's numbers."""
        self.parameter = self._find_parameter()
        self.per_leaf = self._find_per_leaf(step_is_per_leaf=True)
        self.group_counts = any(
            output >= 0 and self.kinds[state] == Kind.SCALAR and self.per_leaf[output]
            for state, output in zip(program.states, program.outputs[1:], strict=True)
        )
        if self.group_counts:
            self.per_leaf = self._find_per_leaf(step_is_per_leaf=False)

    def _find_parameter(self) -> str:
        """The weight's own name, unless the program assigns it again."""
        weight = only(self.program, Role.WEIGHT)
        if weight is None:
            return self.names.fresh("w")
        results = range(self.first, self.first + len(self.program.operations))
        name = self.names.of(weight)
        assigned = any(self.names.of(value) == name for value in results)
        return self.names.fresh("param") if assigned else name

    def _find_per_leaf(self, step_is_per_leaf: bool) -> list[bool]:
        """Which values belong to a parameter rather than to its group or to all."""
        found = [
            kind != Kind.SCALAR or (step_is_per_leaf and value == self.step)
            for value, kind in enumerate(self.kinds[: self.first])
        ]
        for value, operation in enumerate(self.program.operations, start=self.first):
            args = any(arg >= 0 and found[arg] for arg in operation.args)
            found.append(
                self.kinds[value] != Kind.SCALAR or (args and not self._sums_blocks(value))
            )
        return found

    def _values(self, stage: int, per_leaf: bool | None = None) -> list[int]:
        """The results computed in a stage, in order."""
        end = self.first + len(self.program.operations)
        found = [v for v in range(self.first, end) if self.stages[v] == stage]
        return [v for v in found if per_leaf is None or self.per_leaf[v] == per_leaf]

    def _added(self, value: int) -> tuple[int, ...]:
        op, args, _ = self._operation(value)
        return args[:1] if op.rule is last_scalar else args

    def _sums_blocks(self, value: int) -> bool:
        """Whether a result needs sums over the tree."""
        is_sum = self._operation(value).op.over is Over.TREE
        return is_sum and any(self._kind(arg) != Kind.SCALAR for arg in self._added(value))

    def _numbers_of_group(self) -> list[tuple[str, str]]:
        """The variables of Python's numbers, and where a group has them."""
        named = {self.names.of(v): key for v, key in self.keys.items()}
        named |= {LABEL.lower: LABEL.name} if has_labels(self.program) else {}
        return [(name, f'group["{key}"]') for name, key in named.items()]

    def _owner(self, value: int) -> int | None:
        """The parameter or state variable whose memory a value is, if any."""
        if 0 <= value < self.first:
            written = self.program.inputs[value].role in (Role.WEIGHT, Role.STATE)
            return value if written else None
        if value >= 0 and self._operation(value).op.over is Over.MATRIX:
            owners = [self._owner(arg) for arg in self._operation(value).args]
            return next((owner for owner in owners if owner is not None), None)
        return None

    @property
    def _like(self) -> str:
        return self.parameter

    def _template(self, op: OpDef) -> str:
        return op.torch or op.lower

    def _statement(self, value: int) -> list[str]:
        lines = super()._statement(value)
        if lines and value not in self.inlined:
            name, _, text = lines[-1].partition(" = ")
            if len(text) > self.longest:
                lines[-1:] = _in_two(name, parse(text))
            self._name(name, parse(text))
        return lines

    def _taken_out(self, arg: int) -> str:
        self._name(self.names.of(arg), self.inlined[arg])
        return super()._taken_out(arg)

    def _name(self, name: str, node: ast.expr) -> None:
        """Remember whether a variable holds a number of Python's."""
        known = self.numbers.add if self._is_number(node) else self.numbers.discard
        known(name)

    def _is_inlined(self, value: int, text: str) -> bool:
        # New values of states are computed before anything is overwritten.
        return value not in self.program.outputs[1:] and super()._is_inlined(value, text)

    def _expression(self, value: int) -> ast.expr:
        op, args, _ = self._operation(value)
        if op.over is Over.SHAPE:
            return self._filled(op, self._template(op), [parse(self.parameter)])
        node = super()._expression(value)
        kind = self.kinds[value]
        if op.is_choice and kind not in NUMBERS and kind not in map(self._kind, args[2:]):
            dtype = f"{self.parameter}.dtype" if kind == Kind.ARRAY else "scalar"
            return method(node, "to", dtype)
        numbers = all(self._is_number(self._use(arg)) for arg in args[2:])
        if op.is_choice and numbers and not self.static[value]:  # it would be in double precision
            return method(node, "to", "scalar")
        return node

    def _is_python(self, arg: int) -> bool:
        return self._is_number(self._use(arg))

    def _array(self, number: str) -> str:
        return f"torch.as_tensor({number}, dtype=scalar)"

    def _is_cast(self, arg: int, value: int) -> bool:
        if arg < 0 or self.kinds[arg] in NUMBERS:  # torch casts these to what they meet
            return False
        # A sum of squares may be beyond float16's range where no number is.
        return self.kinds[arg] != self.kinds[value] or self._sums_blocks(value)

    def _meeting(self, arg: int, value: int) -> ast.expr:
        if (value, arg) in self.casts:
            return parse(self.casts[value, arg])
        node = self._use(arg)
        if not self._is_cast(arg, value):
            other = self._meets_early(arg, value)
            if other is None:
                return node
            return parse(f"promoted({ast.unparse(node)}, {self._text(other)})")
        if self._sums_blocks(value):
            return method(node, "to", "scalar")
        kind = self.kinds[value]
        if kind == Kind.ARRAY:
            node = parse(f"spread({ast.unparse(node)}, {self.parameter})")
        met = next((a for a in self._operation(value).args if self._kind(a) == kind), None)
        if met is None:
            return node
        return method(node, "to", f"{self._text(met)}.dtype")

    def _filled(
        self, op: OpDef, expression: str, args: Iterable[ast.expr], sums: Iterable[ast.expr] = ()
    ) -> ast.expr:
        return self._tensors(super()._filled(op, expression, args, sums))

    def _tensors(self, node: ast.expr) -> ast.expr:
        return _Tensors(self._is_number).visit(node)

    def _is_number(self, node: ast.expr) -> bool:
        """Whether an expression is a number of Python's, whose arithmetic can't fail."""
        match node:
            case ast.Constant() | ast.Attribute(attr="ndim"):
                return True
            case ast.Subscript():  # of a shape
                return True
            case ast.Name():
                return node.id in self.numbers
            case ast.UnaryOp():
                return self._is_number(node.operand)
            case ast.BinOp(op=ast.Add() | ast.Sub() | ast.Mult()):
                return self._is_number(node.left) and self._is_number(node.right)
            case _:
                return False


class _Tensors(ast.NodeTransformer):
    """Makes tensors of numbers where torch takes nothing else, or where Python would raise."""

    def __init__(self, is_number: Callable[[ast.expr], bool]) -> None:
        self.is_number = is_number

    def visit_Call(self, node: ast.Call) -> ast.expr:
        self.generic_visit(node)
        name = ast.unparse(node.func).removeprefix("torch.")
        numbers = [self.is_number(arg) for arg in node.args]
        if name == "number" or not any(numbers):
            return node
        if name in _BOUNDS and not all(numbers):
            tensor, number = sorted(node.args, key=self.is_number)
            keyword = ast.keyword(_BOUNDS[name], number)
            return ast.Call(parse("torch.clamp"), [tensor], [keyword])
        if name == "where":
            numbers = [all(numbers[1:]) and i == 1 for i in range(3)]
        node.args = [_number(a) if wrap else a for a, wrap in zip(node.args, numbers, strict=True)]
        return node

    def visit_BinOp(self, node: ast.BinOp) -> ast.expr:
        self.generic_visit(node)
        raises = isinstance(node.op, ast.Div | ast.Pow)
        if raises and self.is_number(node.left) and self.is_number(node.right):
            node.left = _number(node.left)
        return node

    def visit_Compare(self, node: ast.Compare) -> ast.expr:
        self.generic_visit(node)
        if self.is_number(node.left) and self.is_number(node.comparators[0]):
            node.left = _number(node.left)
        return node


def _in_two(name: str, node: ast.expr) -> list[str]:
    """An assignment in two steps, where its expression has a last one to take apart."""
    match node:
        case ast.Call(ast.Attribute(attr="reshape"), [block, shape]):
            last = f"{name}.reshape({ast.unparse(shape)})"
            return [f"{name} = {ast.unparse(block)}", f"{name} = {last}"]
        case ast.BinOp(left, ast.Div(), right) if not mentions(ast.unparse(right), name):
            last = ast.unparse(ast.BinOp(ast.Name(name), ast.Div(), right))
            return [f"{name} = {ast.unparse(left)}", f"{name} = {last}"]
        case _:
            return [f"{name} = {ast.unparse(node)}"]


def _number(node: ast.expr) -> ast.expr:
    return parse(f"number({ast.unparse(node)})")


def only(program: Program, role: Role) -> int | None:
    """The input of a role that at most one input has."""
    return next(iter(program.with_role(role)), None)


def mentions(text: str, name: str) -> bool:
    """Whether a text reads a variable."""
    return re.search(rf"\b{name}\b(?!\")", text) is not None


def for_writing(scalar: str) -> str:
    """A tensor without dimensions, to be changed in place.

    torch.compile loses what is written to such a tensor in double precision, unless by a view.
    """
    return f"{scalar}.view(1)"


def tuple_of(names: list[str]) -> str:
    """One name, or several as a tuple."""
    return names[0] if len(names) == 1 else f"({', '.join(names)})"


def assignments(pairs: list[tuple[str, str]]) -> list[str]:
    """Assignments, as many on a line as are easy to read."""
    lines: list[list[tuple[str, str]]] = []
    for pair in pairs:
        length = sum(len(a) + len(b) + 4 for a, b in (lines[-1] if lines else [])) + len(pair[0])
        if not lines or len(lines[-1]) == 3 or length + len(pair[1]) > 70:
            lines.append([])
        lines[-1].append(pair)
    return [
        f"{', '.join(name for name, _ in line)} = {', '.join(source for _, source in line)}"
        for line in lines
    ]

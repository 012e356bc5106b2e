"""Statements of emitted source: a program's operations as Python, in the words of one library.

Expressions are Python syntax trees, made from the function table's expressions by substitution, so
that `ast.unparse` writes the parentheses that are needed and no others.
"""

import ast
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping

from optdsl.backends.emit_names import Names, is_nameless, stages_of, static_values
from optdsl.ir import Operation, Program, Role
from optdsl.ops import BY_NAME, EXTENTS, Extent, Kind, OpDef, Over
from optdsl.passes.infer import infer

MAX_EXPRESSION = 80
"""Statements are no longer than this, where names for their parts make them shorter."""

INTERPOLATE = BY_NAME["interpolate"]

_MATRICES = (Over.ROW, Over.COLUMN, Over.MATRIX)


class Statements(ABC):
    """A program's statements. A subclass says how its library writes, and what stands around."""

    module: str
    """The name of the array module."""
    cast: str
    """How an array is cast, up to the dtype."""
    along: Mapping[Over, str]
    """The keywords of a sum along one dimension."""
    size: str
    """What follows an array to say how many numbers it has."""
    longest = MAX_EXPRESSION

    def __init__(
        self, program: Program, reserved: frozenset[str], order: Mapping[int, list[int]]
    ) -> None:
        """Nothing is written yet.

        Args:
            program: one without dead state, its constants folded.
            reserved: names that the source has other uses for.
            order: what `made_after` gives; empty where the order of writes is not to be said.
        """
        self.program, self.first = program, len(program.inputs)
        self.kinds = infer(program)
        self.order = order
        self.stages = stages_of(program, self.kinds, order)
        self.last_stage = max(self.stages, default=0)
        self.static = static_values(program)
        self.names = Names(program, self.kinds, self.stages, reserved, self._order())
        self.readers: dict[int, list[int]] = {}
        for value, operation in enumerate(program.operations, start=self.first):
            for arg in operation.args:
                self.readers.setdefault(arg, []).append(value)
        self.stored = self._find_stored()
        self.inlined: dict[int, ast.expr] = {}
        self.totals: dict[int, list[str]] = {}
        """The names of a value's sums over the tree, once they are computed."""
        self.casts: dict[tuple[int, int], str] = {}

    def _find_stored(self) -> list[frozenset[str | None]]:
        """The dtypes that each array is made from, None for the parameter's own."""
        found = [
            frozenset({entry.dtype} if entry.kind == Kind.ARRAY else ())
            for entry in self.program.inputs
        ]
        for value, operation in enumerate(self.program.operations, start=self.first):
            args = [found[arg] for arg in operation.args if self._kind(arg) == Kind.ARRAY]
            is_array = self.kinds[value] == Kind.ARRAY
            found.append(frozenset[str | None]().union(*args) if is_array else frozenset())
        return found

    def _meets_early(self, arg: int, value: int) -> int | None:
        """The array of another dtype whose dtype an average has to know at once: a product of a
        number and an array is rounded to the array's own dtype, as is the number in JAX."""
        op, args, _ = self._operation(value)
        arrays = op is INTERPOLATE and {*map(self._kind, args[:2])} == {Kind.ARRAY}
        if not arrays or arg not in args[:2]:
            return None
        x, y, _ = args
        return None if self.stored[x] == self.stored[y] else (y if arg == x else x)

    def _order(self) -> list[int]:
        """The results in the order of the text."""
        results = range(self.first, self.first + len(self.program.operations))
        return sorted(results, key=lambda value: (self.stages[value], value))

    @abstractmethod
    def _meeting(self, arg: int, value: int) -> ast.expr:
        """An argument of an elementwise operation, cast upward to meet the others."""

    @abstractmethod
    def _is_cast(self, arg: int, value: int) -> bool:
        """Whether `_meeting` has to write a cast."""

    @abstractmethod
    def _is_python(self, arg: int) -> bool:
        """Whether an argument is a number of Python's where a statement reads it."""

    @abstractmethod
    def _array(self, number: str) -> str:
        """An array of a number of Python's, in the dtype of scalars."""

    @property
    @abstractmethod
    def _like(self) -> str:
        """The name of an array of the weights' shape, where an inner function has one."""

    def _template(self, op: OpDef) -> str:
        """The function's expression in the words of the library."""
        return op.lower

    def _reads(self, role: Role) -> bool:
        values = self.program.with_role(role)
        return any(v in self.readers or v in self.program.outputs for v in values)

    def _operation(self, value: int) -> Operation:
        return self.program.operations[value - self.first]

    def _statement(self, value: int) -> list[str]:
        """The assignment of a result, or nothing if it is written where it is read."""
        if value in self.totals and self._operation(value).op.lower == "{s0}":
            return []
        lines = self._repeated_casts(value)
        expression = self._expression(value)
        if len(ast.unparse(expression)) > self.longest:
            for arg in dict.fromkeys(self._operation(value).args):
                if arg in self.inlined and not self.static[arg]:
                    lines.append(self._taken_out(arg))
            expression = self._expression(value)
        if self._is_inlined(value, ast.unparse(expression)):
            self.inlined[value] = expression
            return lines
        name, text = self.names.of(value), ast.unparse(expression)
        bare, cast, dtype = text.rpartition(self.cast)
        if len(text) > self.longest and value in self.totals and f"{name}." not in dtype:
            return [*lines, f"{name} = {bare}", f"{name} = {name}{cast}{dtype}"]
        return [*lines, f"{name} = {text}"]

    def _taken_out(self, arg: int) -> str:
        """The assignment of a result that was to be written where it is read."""
        return f"{self.names.of(arg)} = {ast.unparse(self.inlined.pop(arg))}"

    def _repeated_casts(self, value: int) -> list[str]:
        """Names for arguments that are cast and that the function's expression has twice."""
        op, args, _ = self._operation(value)
        lines: list[str] = []
        for name, arg in zip(op.args, args, strict=True):
            repeated = self._template(op).count(f"{{{name}}}") > 1
            if repeated and self.kinds[value] != Kind.SCALAR and self._is_cast(arg, value):
                cast = self.names.fresh(name)
                lines.append(f"{cast} = {ast.unparse(self._meeting(arg, value))}")
                self.casts[value, arg] = cast
        return lines

    def _is_inlined(self, value: int, text: str) -> bool:
        """Whether a nameless result is read just once, in the same place, and is short."""
        readers = self.readers.get(value, [])
        if any(self._meets_early(value, reader) is not None for reader in readers):
            return False
        outputs = self.program.outputs.count(value)
        name = self._operation(value).name
        if not is_nameless(name) or len(readers) + outputs != 1 or value in self.order:
            return False
        if len(text) > self.longest - len(name):
            return False
        if outputs:
            return self.kinds[value] != Kind.SCALAR and self.stages[value] == self.last_stage
        op, args, _ = self._operation(readers[0])
        same_place = self.stages[readers[0]] == self.stages[value] and (
            (self.kinds[readers[0]] == Kind.SCALAR) == (self.kinds[value] == Kind.SCALAR)
        )
        once = self._template(op).count(f"{{{op.args[args.index(value)]}}}") == 1
        plain = op.over is Over.NOTHING and not self._casts(readers[0])
        return same_place and once and plain

    def _expression(self, value: int) -> ast.expr:
        """A result's expression, of its arguments' names."""
        op, args, _ = self._operation(value)
        kind = self.kinds[value]
        if kind == Kind.SCALAR and op.over is not Over.TREE:
            return self._scalar(op, args)
        if op.over is Over.TREE:
            return self._over_tree(value)
        if op.over is Over.NOTHING:
            nodes = [self._meeting(arg, value) for arg in args]
            return self._filled(op, self._template(op), nodes)
        return self._over_blocks(op, args, kind)

    def _scalar(self, op: OpDef, args: tuple[int, ...]) -> ast.expr:
        """A function of scalars; sums are of their one number."""
        nodes = [self._use(arg) for arg in args]
        sums = [self._filled(op, expression, nodes) for expression in op.sums]
        return self._filled(op, self._template(op), nodes, sums)

    def _over_tree(self, value: int) -> ast.expr:
        """A function of sums over the tree, elementwise in its arguments if it has a bound."""
        op, args, _ = self._operation(value)
        totals = self.totals.get(value)
        if totals is None:
            return self._scalar(op, args)
        sums = [parse(total) for total in totals]
        if self.kinds[value] == Kind.SCALAR:
            return self._filled(op, self._template(op), [], sums)
        # In the scalars' dtype: a sum of squares may be beyond float16's range where no number is.
        nodes = [self._meeting(arg, value) for arg in args]
        node = self._filled(op, self._template(op), nodes, sums)
        dtype = "scalar" if self._is_python(args[0]) else f"{self._text(args[0])}.dtype"
        return parse(f"({ast.unparse(node)}){self.cast}{dtype})")

    def _over_blocks(self, op: OpDef, args: tuple[int, ...], kind: Kind) -> ast.expr:
        """A reduction over each array, its rows or its columns; or a function of matrices."""
        if op.over is Over.MATRIX:
            blocks = [
                self._use(a) if self._kind(a) == Kind.SCALAR else self._matrix(a) for a in args
            ]
            node = self._filled(op, self._template(op), blocks)
        else:
            in_rows = op.over in _MATRICES
            text = ast.unparse(self._matrix(args[0])) if in_rows else self._block(args[0])
            summand = [parse(f"{text}{self.cast}scalar)")]
            terms = [ast.unparse(self._filled(op, each, summand)) for each in op.sums]
            keywords = self.along.get(op.over, "")
            sums = [parse(f"{self.module}.sum({term}{keywords})") for term in terms]
            length = {Over.ROW: f"{text}.shape[1]", Over.COLUMN: f"{text}.shape[0]"}
            sums.append(parse(length.get(op.over, f"{text}{self.size}")))
            node = self._filled(op, self._template(op), [], sums)
        if op.over in _MATRICES and kind in (Kind.ARRAY, Kind.PER_ARRAY):
            shape = f"{self._like}.shape" if kind == Kind.ARRAY else "()"
            node = parse(f"{self.module}.reshape({ast.unparse(node)}, {shape})")
        return node

    def _matrix(self, arg: int) -> ast.expr:
        """The matrix view of a value's block; most are matrices as they are."""
        is_one = self.kinds[arg] not in (Kind.ARRAY, Kind.PER_ARRAY)
        return parse(self._block(arg) if is_one else f"matrix({self._block(arg)})")

    def _block(self, arg: int) -> str:
        """A value's block, which is an array."""
        return self._array(self._text(arg)) if self._is_python(arg) else self.names.of(arg)

    def _casts(self, value: int) -> bool:
        """Whether an elementwise operation on blocks casts one of its arguments upward."""
        if self.kinds[value] == Kind.SCALAR:
            return False
        return any(self._is_cast(arg, value) for arg in self._operation(value).args)

    def _use(self, arg: int) -> ast.expr:
        if arg < 0:
            return parse(repr(self.program.constants[~arg]))
        return self.inlined.get(arg) or parse(self.names.of(arg))

    def _text(self, arg: int) -> str:
        return ast.unparse(self._use(arg))

    def _kind(self, arg: int) -> Kind:
        return self.kinds[arg] if arg >= 0 else Kind.SCALAR

    def _filled(
        self, op: OpDef, expression: str, args: Iterable[ast.expr], sums: Iterable[ast.expr] = ()
    ) -> ast.expr:
        """An expression of the table with arguments and sums put in; the last may be the count."""
        places = {name: f"_{name}" for name in op.args}
        sums = list(sums)
        places |= {f"s{i}": f"_s{i}" for i in range(len(op.sums))}
        nodes = dict(zip((f"_{name}" for name in op.args), args, strict=False))
        nodes |= {f"_s{i}": node for i, node in enumerate(sums[: len(op.sums)])}
        nodes["_n"] = sums[-1] if len(sums) > len(op.sums) else ast.Constant(1)
        nodes["xp"] = ast.Name(self.module)
        return _Substitute(nodes).visit(parse(expression.format(**places, n="_n")))


def parse(text: str) -> ast.expr:
    """An expression's syntax tree."""
    return ast.parse(text, mode="eval").body


def shape_of(kind: Kind, like: str) -> str:
    """The shape of the block of an array `like`, of a kind with numbers for rows or columns."""
    return f"({', '.join(_LENGTHS[extent].format(like) for extent in EXTENTS[kind])})"


_LENGTHS: dict[Extent, str] = {
    Extent.ONE: "1",
    Extent.ROWS: "matrix({}).shape[0]",
    Extent.COLUMNS: "matrix({}).shape[1]",
}


def method(node: ast.expr, name: str, argument: str) -> ast.expr:
    """The call of a method of an expression's value."""
    return ast.Call(ast.Attribute(node, name), [parse(argument)], [])


def wrapped(line: str, width: int) -> list[str]:
    """An assignment, a `return` or a call on one line if that is not too long, else on several."""
    if len(line) <= width or line.rstrip().endswith(":") or "#" in line:
        return [line]
    node = ast.parse(line.strip()).body[0]
    assert isinstance(node, ast.Assign | ast.Return | ast.Expr)
    indent = line[: len(line) - len(line.lstrip())]
    match node:
        case ast.Assign():
            head = f"{ast.unparse(node.targets[0])} ="
        case ast.Return():
            head = "return"
        case _:
            head = ""
    value, text = node.value, ast.unparse(node.value or ast.Constant(None))
    match value:
        case ast.Tuple():
            parts = [f"{ast.unparse(each)}," for each in value.elts]
        case ast.BinOp():
            left = ast.unparse(value.left)
            parts = [left, text.removeprefix(left).strip()]
        case ast.Call():
            head = f"{head} {ast.unparse(value.func)}".lstrip()
            parts = [text.removeprefix(f"{ast.unparse(value.func)}(")[:-1]]
        case ast.ListComp():
            each = ast.unparse(value.elt)
            parts = [each, text.removeprefix(f"[{each}").strip()[:-1]]
        case _:
            parts = [text]
    opening = "(" if isinstance(value, ast.Call) else " ("
    opening, closing = (" [", "]") if isinstance(value, ast.ListComp) else (opening, ")")
    inner = (f"{indent}    {part}" for part in parts)
    return [f"{indent}{head}{opening}", *inner, f"{indent}{closing}"]


class _Substitute(ast.NodeTransformer):
    def __init__(self, nodes: dict[str, ast.expr]) -> None:
        self.nodes = nodes

    def visit_Name(self, node: ast.Name) -> ast.expr:
        return self.nodes.get(node.id, node)

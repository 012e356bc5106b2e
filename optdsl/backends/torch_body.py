"""The body of an emitted torch optimizer: what stands in its `step`. See `torch_emit.py`.

Each stage is a loop over the parameter groups. Scalars are computed once for each group, and what
has numbers for each parameter in an inner loop, where sums over the tree are added up too. Only a
scalar that depends on the step count belongs to a parameter, since parameters count their own
steps, as in torch.optim: one without a gradient is left out and counts no step. Where a scalar
state variable depends on the step count, the group has to count.
"""

import ast
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from types import MappingProxyType

from optdsl.backends.emit_statements import Statements, group, parse
from optdsl.ir import Program, Role
from optdsl.ops import Kind, OpDef, Over
from optdsl.ops.kinds import broadcast, last_scalar

INDENT = "    "
WIDTH = 96
"""Of a line of `step`, without its first indentation."""

_NUMBERS = (Kind.SCALAR, Kind.PER_ARRAY)
"""Kinds that are tensors without dimensions: torch casts them to what they meet."""

_BOUNDS = {"maximum": "min", "minimum": "max"}
"""The keyword of `torch.clamp` that does what a function of a tensor and a number does."""


@dataclass(frozen=True)
class Stored:
    """A state variable: the key it is stored under, its kind and the dtype it is stored in."""

    name: str
    kind: Kind
    dtype: str | None


@dataclass(frozen=True)
class TorchBody:
    """The varying parts of the source."""

    states: tuple[Stored, ...]
    hyperparameters: tuple[str, ...]
    reads_rate: bool
    reads_step: bool
    group_counts: bool
    """Whether the group counts the steps, not each parameter."""
    parameter: str
    """The variable that holds a parameter."""
    lines: tuple[str, ...]
    """The statements of `step` that update everything, without their first indentation."""


def emit_torch_body(program: Program, reserved: frozenset[str]) -> TorchBody:
    """The body of a program without dead state, its constants folded."""
    return _Emitter(program, reserved).emit()


class _Emitter(Statements):
    module = "torch"
    cast = ".to("
    along = MappingProxyType(
        {Over.ROW: ", dim=1, keepdim=True", Over.COLUMN: ", dim=0, keepdim=True"}
    )
    size = ".numel()"
    longest = 72  # statements stand deeper than those of a function

    def __init__(self, program: Program, reserved: frozenset[str]) -> None:
        super().__init__(program, reserved, {})
        names = self.names
        self.rate = _only(program, Role.LEARNING_RATE)
        self.step = _only(program, Role.STEP)
        self.hyperparameters = program.with_role(Role.HYPERPARAMETER)
        self.keys = {} if self.rate is None else {self.rate: "lr"}
        self.keys |= {v: names.of(v) for v in self.hyperparameters}
        self.numbers = {names.of(v) for v in self.keys}
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
        weight = _only(self.program, Role.WEIGHT)
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

    def emit(self) -> TorchBody:
        """The whole body."""
        stages = range(self.last_stage + 1)
        written = [self._stage(stage) for stage in stages]
        lines: list[str] = []
        if len(written) > 1:
            pairs = "(group, self._with_gradients(group)) for group in self.param_groups"
            lines += [f"groups = [{pairs}]"]
            lines += ["groups = [(group, params) for group, params in groups if params]"]
        states = tuple(
            Stored(self.names.of(v), self.program.inputs[v].kind, self.program.inputs[v].dtype)
            for v in self.program.states
        )
        return TorchBody(
            states,
            tuple(self.names.of(v) for v in self.hyperparameters),
            self._reads(Role.LEARNING_RATE),
            self._reads(Role.STEP),
            self.group_counts,
            self.parameter,
            (*lines, *(line for each in written for line in each)),
        )

    # Stages

    def _stage(self, stage: int) -> list[str]:
        """The loop over the groups, and what must stand before it."""
        is_last, outer = stage == self.last_stage, self.last_stage > 0
        shared = [line for v in self._values(stage, False) for line in self._statement(v)]
        leaf = [line for v in self._values(stage, True) for line in self._statement(v)]
        totals: list[str] = []
        for value in self._values(stage + 1):
            begun, added = self._tree_sums(value)
            totals += begun
            leaf += added
        ends = self._scalar_states() if is_last else []
        if is_last:
            leaf += self._writes()
        earlier = [s for s in range(stage) if self._carried(s, to=stage)]
        kept_shared, kept_leaf = self._kept(stage, False), self._kept(stage, True)
        if kept_leaf:
            leaf.append(f"leaves_{stage + 1}.append({_tuple(kept_leaf)})")
            kept_shared.append(f"leaves_{stage + 1}")
        inner = self._leaf_loop(stage, leaf, earlier, outer) if leaf else []
        if kept_leaf:
            inner.insert(0, f"leaves_{stage + 1} = []")
        if kept_shared:
            totals.append(f"kept_{stage + 1} = []")
            ends.append(f"kept_{stage + 1}.append({_tuple(kept_shared)})")
        body = [*self._group_reads([*shared, *inner, *ends], shared), *shared, *inner, *ends]
        return [*totals, *self._group_loop(earlier, outer), *(INDENT + line for line in body)]

    def _group_loop(self, earlier: list[int], outer: bool) -> list[str]:
        if not outer:
            return ["for group in self.param_groups:"]
        if not earlier:
            return ["for group, params in groups:"]
        kept = [f"kept_{s + 1}" for s in earlier]
        items: list[str] = []
        for s in earlier:
            leaves = [f"leaves_{s + 1}"] if self._kept(s, True) else []
            items.append(_tuple([*self._kept(s, False), *leaves]))
        zipped = f"zip(groups, {', '.join(kept)}, strict=True)"
        line = f"for (group, params), {', '.join(items)} in {zipped}:"
        if len(line) <= WIDTH - 4:
            return [line]
        return [f"columns = {zipped}", f"for (group, params), {', '.join(items)} in columns:"]

    def _leaf_loop(self, stage: int, leaf: list[str], earlier: list[int], outer: bool) -> list[str]:
        """The loop over a group's parameters."""
        params = "params" if outer or self._has_scalar_states() else "self._with_gradients(group)"
        carrying = [s for s in earlier if self._kept(s, True)]
        target, source = self.parameter, params
        if carrying:
            items = [self.parameter, *(_tuple(self._kept(s, True)) for s in carrying)]
            lists = [params, *(f"leaves_{s + 1}" for s in carrying)]
            target, source = ", ".join(items), f"zip({', '.join(lists)}, strict=True)"
        body = [*self._leaf_reads(leaf), *leaf]
        return [f"for {target} in {source}:", *(INDENT + line for line in body)]

    def _group_reads(self, lines: list[str], shared: list[str]) -> list[str]:
        """What a group's statements read from it."""
        program, names, text = self.program, self.names, "\n".join(lines)
        pairs = [(names.of(v), f'group["{key}"]') for v, key in self.keys.items()]
        if self.step is not None and self.group_counts:
            pairs.append((names.of(self.step), 'group["step"]'))
        for state in program.states:
            if self.kinds[state] == Kind.SCALAR:
                stored = program.inputs[state].dtype is not None
                source = f'group["{names.of(state)}"]' + (".to(scalar)" if stored else "")
                pairs.append((names.of(state), source))
        read = [(name, source) for name, source in pairs if _mentions(text, name)]
        found: list[str] = []
        if self.last_stage == 0 and self._has_scalar_states():
            found += ["params = self._with_gradients(group)"]
            found += ["if not params:", f"{INDENT}continue"]
        reads = _assignments(sorted(read, key=lambda pair: ".to(" in pair[1]))
        if _mentions("\n".join([*reads, *shared]), "scalar"):
            found.append("scalar = torch.promote_types(params[0].dtype, torch.float32)")
        return [*found, *reads]

    def _leaf_reads(self, lines: list[str]) -> list[str]:
        """What a parameter's statements read from it."""
        names, text = self.names, "\n".join(lines)
        pairs: list[tuple[str, str]] = []
        weight, gradient = _only(self.program, Role.WEIGHT), _only(self.program, Role.GRADIENT)
        if weight is not None and names.of(weight) != self.parameter:
            pairs.append((names.of(weight), self.parameter))
        if gradient is not None:
            pairs.append((names.of(gradient), f"{self.parameter}.grad"))
        stored = [(names.of(s), names.of(s)) for s in self.program.states
                  if self.kinds[s] != Kind.SCALAR]  # fmt: skip
        if self.step is not None and not self.group_counts:
            stored.append((names.of(self.step), "step"))
        kept = [(name, f'state["{key}"]') for name, key in stored if _mentions(text, name)]
        if kept or 'state["' in text:
            pairs.append(("state", f"self.state[{self.parameter}]"))
        pairs = [pair for pair in pairs if pair[0] == "state" or _mentions(text, pair[0])]
        scalar = f"scalar = torch.promote_types({self.parameter}.dtype, torch.float32)"
        return [
            *_assignments(pairs),
            *_assignments(kept),
            *([scalar] if _mentions(text, "scalar") else []),
        ]

    def _values(self, stage: int, per_leaf: bool | None = None) -> list[int]:
        """The results computed in a stage, in order."""
        end = self.first + len(self.program.operations)
        found = [v for v in range(self.first, end) if self.stages[v] == stage]
        return [v for v in found if per_leaf is None or self.per_leaf[v] == per_leaf]

    def _has_scalar_states(self) -> bool:
        return any(self.kinds[state] == Kind.SCALAR for state in self.program.states)

    # Values that later stages read

    def _carried(self, stage: int, to: int | None = None) -> list[int]:
        """The results of a stage that another one reads, or any later one."""
        return [
            v
            for v in self._values(stage)
            if any(s > stage and to in (None, s) for s in self._read_in(v))
        ]

    def _kept(self, stage: int, per_leaf: bool) -> list[str]:
        found = [v for v in self._carried(stage) if self.per_leaf[v] == per_leaf]
        return [self.names.of(v) for v in found]

    def _read_in(self, value: int) -> set[int]:
        """The stages that read a result; a sum is added up in the one before it is used."""
        stages = {self.last_stage} if value in self.program.outputs else set[int]()
        for reader in self.readers.get(value, ()):
            sums = self._sums_blocks(reader)
            if sums and value in self._added(reader):
                stages.add(self.stages[reader] - 1)
            if not sums or self.kinds[reader] != Kind.SCALAR:
                stages.add(self.stages[reader])
        return stages

    # Sums over the tree

    def _added(self, value: int) -> tuple[int, ...]:
        op, args, _ = self._operation(value)
        return args[:1] if op.rule is last_scalar else args

    def _sums_blocks(self, value: int) -> bool:
        """Whether a result needs sums over the tree."""
        is_sum = self._operation(value).op.over is Over.TREE
        return is_sum and any(self._kind(arg) != Kind.SCALAR for arg in self._added(value))

    def _tree_sums(self, value: int) -> tuple[list[str], list[str]]:
        """The sums that a result needs: where they begin, and what a parameter adds."""
        if not self._sums_blocks(value):
            return [], []
        op, added = self._operation(value).op, self._added(value)
        common = self._joined([self._kind(arg) for arg in added])
        full = next((self.names.of(a) for a in added if self._kind(a) == common), self.parameter)
        nodes = [self._summand(arg, full, common) for arg in added]
        begun: list[str] = []
        lines: list[str] = []
        self.totals[value] = []
        for expression in op.sums:
            total = self.names.of(value)
            total = total if op.lower == "{s0}" else self.names.fresh(f"{total}_sum")
            term = ast.unparse(self._filled(op, expression, nodes))
            begun.append(f"{total} = 0.0")
            lines.append(f"{total} += torch.sum({term})")
            self.totals[value].append(total)
        if "{n}" in op.lower:
            total = self.names.fresh(f"{self.names.of(value)}_size")
            begun.append(f"{total} = 0")
            lines.append(f"{total} += {full}.numel()")
            self.totals[value].append(total)
        return begun, lines

    def _summand(self, arg: int, full: str, common: Kind) -> ast.expr:
        """An argument of a sum, of the common kind and the dtype of scalars."""
        kind = self._kind(arg)
        if kind == common:
            return parse(f"{self.names.of(arg)}.to(scalar)")
        if common == Kind.ARRAY and kind not in _NUMBERS:
            return parse(f"spread({self.names.of(arg)}.to(scalar), {full})")
        return self._tensors(parse(f"torch.broadcast_to({self._text(arg)}, {full}.shape)"))

    # Writes

    def _writes(self) -> list[str]:
        """What changes the parameter and its state, once all new values are computed.

        The parameter is first, since the update may be the old value of a state variable.
        """
        program, names = self.program, self.names
        clones: list[str] = []
        writes = [f"{self.parameter}.sub_({self._text(program.outputs[0])})"]
        for state, output in zip(program.states, program.outputs[1:], strict=True):
            if self.kinds[state] == Kind.SCALAR or output == state:
                continue
            text = self._text(output)
            owner = self._owner(output)
            if owner is not None and owner != state:
                text = names.fresh(f"old_{names.of(owner)}")
                clones.append(f"{text} = {self._text(output)}.clone()")
            if self.kinds[state] == Kind.ARRAY and self._kind(output) not in (
                *_NUMBERS,
                Kind.ARRAY,
            ):
                text = f"spread({text}, {self.parameter})"
            writes.append(self._write(f'state["{names.of(state)}"]', text))
        return [*clones, *writes]

    def _scalar_states(self) -> list[str]:
        """What changes the scalar state variables."""
        program, names = self.program, self.names
        clones: list[str] = []
        writes: list[str] = []
        for state, output in zip(program.states, program.outputs[1:], strict=True):
            if self.kinds[state] != Kind.SCALAR or output == state:
                continue
            text = self._text(output)
            if output in program.states:
                text = names.fresh(f"old_{names.of(output)}")
                clones.append(f"{text} = {names.of(output)}.clone()")
            writes.append(self._write(f'group["{names.of(state)}"]', text))
        return [*clones, *writes]

    def _write(self, target: str, text: str) -> str:
        copy = "fill_" if self._is_number(parse(text)) else "copy_"
        return f"{target}.{copy}({text})"

    def _owner(self, value: int) -> int | None:
        """The parameter or state variable whose memory a value is, if any."""
        if 0 <= value < self.first:
            written = self.program.inputs[value].role in (Role.WEIGHT, Role.STATE)
            return value if written else None
        if value >= 0 and self._operation(value).op.over is Over.MATRIX:
            owners = [self._owner(arg) for arg in self._operation(value).args]
            return next((owner for owner in owners if owner is not None), None)
        return None

    # Expressions

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
            known = self.numbers.add if self._is_number(parse(text)) else self.numbers.discard
            known(name)
        return lines

    def _is_inlined(self, value: int, text: str) -> bool:
        # New values of states are computed before anything is overwritten.
        return value not in self.program.outputs[1:] and super()._is_inlined(value, text)

    def _expression(self, value: int) -> ast.expr:
        op, args, _ = self._operation(value)
        if op.over is Over.SHAPE:
            return self._filled(op, self._template(op), [parse(self.parameter)])
        node = super()._expression(value)
        kind = self.kinds[value]
        if op.is_choice and kind not in _NUMBERS and kind not in map(self._kind, args[2:]):
            dtype = f"{self.parameter}.dtype" if kind == Kind.ARRAY else "scalar"
            return parse(f"{ast.unparse(node)}.to({dtype})")
        return node

    def _is_cast(self, arg: int, value: int) -> bool:
        if arg < 0 or self.kinds[arg] in _NUMBERS:
            return False
        # A sum of squares may be beyond float16's range where no number is.
        return self.kinds[arg] != self.kinds[value] or self._sums_blocks(value)

    def _meeting(self, arg: int, value: int) -> ast.expr:
        if (value, arg) in self.casts:
            return parse(self.casts[value, arg])
        node = self._use(arg)
        if not self._is_cast(arg, value):
            return node
        if self._sums_blocks(value):
            return parse(f"{ast.unparse(group(node))}.to(scalar)")
        kind = self.kinds[value]
        if kind == Kind.ARRAY:
            node = parse(f"spread({ast.unparse(node)}, {self.parameter})")
        met = next((a for a in self._operation(value).args if self._kind(a) == kind), None)
        if met is None:
            return node
        return parse(f"{ast.unparse(group(node))}.to({self._text(met)}.dtype)")

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

    @staticmethod
    def _joined(kinds: list[Kind]) -> Kind:
        common = broadcast(tuple(kinds))
        assert isinstance(common, Kind), "the program was checked"
        return common


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
        case ast.BinOp(left, ast.Div(), right) if not _mentions(ast.unparse(right), name):
            last = ast.unparse(ast.BinOp(ast.Name(name), ast.Div(), right))
            return [f"{name} = {ast.unparse(left)}", f"{name} = {last}"]
        case _:
            return [f"{name} = {ast.unparse(node)}"]


def _number(node: ast.expr) -> ast.expr:
    return parse(f"number({ast.unparse(node)})")


def _only(program: Program, role: Role) -> int | None:
    """The input of a role that at most one input has."""
    return next(iter(program.with_role(role)), None)


def _mentions(text: str, name: str) -> bool:
    return re.search(rf"\b{name}\b(?!\")", text) is not None


def _tuple(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"({', '.join(names)})"


def _assignments(pairs: list[tuple[str, str]]) -> list[str]:
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

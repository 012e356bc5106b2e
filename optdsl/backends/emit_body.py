"""The body of an emitted optax transformation: its stages. See `emit.py`."""

import ast
import re
from dataclasses import dataclass

from optdsl.backends.emit_jax import JaxStatements
from optdsl.backends.emit_statements import MAX_EXPRESSION, parse, wrapped
from optdsl.ir import Program, Role
from optdsl.ops import Kind, Over
from optdsl.ops.kinds import broadcast, last_scalar
from optdsl.passes.by_leaf import LABEL, has_labels
from optdsl.passes.live import reads_numbers
from optdsl.passes.overwrites import write_order

LEAF_WIDTH = 92
"""Lines of `update_fn` are indented by another eight."""


@dataclass(frozen=True)
class Field:
    """A state variable in the source: its field's name, and where its new value is."""

    name: str
    kind: Kind
    dtype: str | None
    new: str
    begins_as_weights: bool = False
    """Whether it begins as a copy of the weights, and not as zeros."""
    kept: str = ""
    """The condition on a weight array w for the variable to be kept; empty if it always is."""


@dataclass(frozen=True)
class Body:
    """The varying parts of the source."""

    fields: tuple[Field, ...]
    hyperparameters: tuple[str, ...]
    reads_rate: bool
    lines: tuple[str, ...]
    """The statements of `update_fn` up to the new state, without their first indentation."""
    update: str
    """The list with the update's leaves, negated."""


@dataclass(frozen=True)
class Number:
    """A number that depends on the weights alone, in the source of `init_fn`."""

    lines: tuple[str, ...]
    """The statements before, from `params` on."""
    text: str


def emit_number(program: Program, reserved: frozenset[str]) -> Number:
    """The last result of a program: a number that depends on the weights alone."""
    return _Emitter(program, reserved).number()


def emit_body(program: Program, reserved: frozenset[str]) -> Body:
    """The body of a program without dead state, its constants folded."""
    return _Emitter(program, reserved).emit()


class _Emitter(JaxStatements):
    def __init__(self, program: Program, reserved: frozenset[str]) -> None:
        super().__init__(program, reserved)
        self.needs_weights = reads_numbers(program, Role.WEIGHT)
        self.lists: dict[int, str] = {
            v: self.names.of(v) for v in range(self.first) if self.kinds[v] != Kind.SCALAR
        }
        """Where the leaves of a value are, once they are computed."""

    def emit(self) -> Body:
        lines = self._stages()
        update, fields, ends = self._outputs()
        lines = [*self._head(lines), *lines, *ends]
        hyperparameters = self.program.with_role(Role.HYPERPARAMETER)
        return Body(
            fields,
            tuple(self.names.of(i) for i in hyperparameters),
            self._reads(Role.LEARNING_RATE),
            tuple(lines),
            update,
        )

    def number(self) -> Number:
        (weights,), like = self.program.with_role(Role.WEIGHT), self.names.gradient
        lines = self._stages()
        text = self._text(self.first + len(self.program.operations) - 1)
        head = [f"{self.names.of(weights)} = jax.tree.leaves(params)"]
        if any(re.search(rf"\b{like}\b", line) for line in lines):
            head.append(f"{like} = {self.names.of(weights)}")
        if has_labels(self.program):
            head.append("label = jax.tree.leaves(label_tree(labels, params))")
        return Number((*head, *lines), text)

    def _stages(self) -> list[str]:
        """The statements from the inputs to all results."""
        lines: list[str] = []
        for stage in range(self.last_stage + 1):
            for value in self._values(stage, scalar=True):
                lines += self._statement(value)
            lines += self._pass(stage)
            for value in self._values(stage + 1):
                lines += self._tree_sums(value)
        return lines

    # The frame

    def _head(self, lines: list[str]) -> list[str]:
        """From the arguments of `update_fn` to the inputs."""
        names, program = self.names, self.program
        head = ["del extra_args"]
        dtypes = f"*{names.gradient}"
        if self.needs_weights:
            head += ["if params is None:", "    raise ValueError(NO_PARAMS)"]
        head.append("count = optax.safe_increment(state.count)")
        head.append(f"{names.gradient}, structure = jax.tree.flatten(updates)")
        if self.needs_weights:
            weight = names.of(program.with_role(Role.WEIGHT)[0])
            head.append(f"{weight} = structure.flatten_up_to(params)")
            dtypes += f", *{weight}"
        if has_labels(program):
            head.append("label = structure.flatten_up_to(label_tree(labels, updates))")
        inputs: list[str] = []
        for state in program.states:
            source = f"state.{names.of(state)}"
            if self.kinds[state] != Kind.SCALAR:
                head.append(f"{names.of(state)} = structure.flatten_up_to({source})")
            elif program.inputs[state].dtype is None:
                head.append(f"{names.of(state)} = {source}")
            else:  # calculated with in the dtype of all scalars, whatever it is stored in
                inputs.append(f"{names.of(state)} = {source}.astype(scalar)")
        if self._reads(Role.LEARNING_RATE):
            name = names.of(program.with_role(Role.LEARNING_RATE)[0])
            choice = "learning_rate(state.count) if callable(learning_rate) else learning_rate"
            inputs += [f"rate = {choice}", f"{name} = jnp.asarray(rate, scalar)"]
        if self._reads(Role.STEP):
            inputs.append(f"{names.of(program.with_role(Role.STEP)[0])} = count.astype(scalar)")
        if inputs or any(re.search(r"\bscalar\b", line) for line in lines):
            head.append(f"scalar = jnp.result_type(jnp.float32, {dtypes})")
        return [*head, *inputs]

    def _outputs(self) -> tuple[str, tuple[Field, ...], list[str]]:
        """The update's list, the state's fields, and the statements that make them."""
        program, names = self.program, self.names
        update = names.fresh("new_updates")
        gradient = names.gradient
        lines = [f"{update} = {self._cast_list(program.outputs[0], gradient, negated=True)}"]
        fields: list[Field] = []
        kept = self.branches.kept(self.items)
        for state, output in zip(program.states, program.outputs[1:], strict=True):
            entry, name = program.inputs[state], names.of(state)
            new = names.fresh(f"new_{name}")
            if entry.kind == Kind.SCALAR:
                old = name if entry.dtype is None else f"state.{name}"
                lines.append(f"{new} = cast({self._text(output)}, {old})")
                fields.append(Field(name, entry.kind, entry.dtype, new))
            else:
                lines.append(f"{new} = {self._cast_list(output, name)}")
                tree, where = f"structure.unflatten({new})", self._kept(kept[state])
                begun = entry.begins_as_weights
                fields.append(Field(name, entry.kind, entry.dtype, tree, begun, where))
        return update, tuple(fields), [*lines, *self._write_order(update, fields)]

    def _write_order(self, update: str, fields: list[Field]) -> list[str]:
        """The statements that order the overwriting of states: see `passes/overwrites.py`."""
        order = write_order(self.program)
        if not order:
            return []
        lists = ["made", *(f.new.removeprefix("structure.unflatten(")[:-1] for f in fields)]
        weights, indent = "structure.flatten_up_to(params)", ""
        if self.needs_weights:
            weights = self.names.of(self.program.with_role(Role.WEIGHT)[0])
        lines = ["# What reads an old value comes first, so that XLA need not copy to keep it."]
        if not self.needs_weights:
            lines.append("if params is not None:")
            indent = "    "
        lines.append(f"{indent}made = optax.apply_updates({weights}, {update})")
        for own, readers in order:
            new = lists[own]
            for reader in readers:
                pairs = f"zip({new}, {lists[reader]}, strict=True)"
                lines.append(f"{indent}{new} = [after(*pair) for pair in {pairs}]")
        return lines

    def _cast_list(self, output: int, old: str, negated: bool = False) -> str:
        """The leaves of an output in the shapes and dtypes of the list `old`."""
        minus = "-" if negated else ""
        if output < 0 or self.kinds[output] == Kind.SCALAR:
            return f"[cast({minus}{self._text(output)}, old) for old in {old}]"
        source, item = self.lists[output], "new"
        if source.startswith("steps"):
            source, item = "steps", f"new{source[5:]}"
            minus = "" if self._is_negated(output) else minus
        if self.kinds[output] not in (Kind.ARRAY, Kind.PER_ARRAY) and self._wants_array(output):
            item = f"spread({item}, old)"
        return f"[cast({minus}{item}, old) for new, old in zip({source}, {old}, strict=True)]"

    def _is_negated(self, value: int) -> bool:
        """Whether the inner function is the update alone, and so returns its negative."""
        return value == self.program.outputs[0] and self.program.outputs.count(value) == 1

    def _wants_array(self, output: int) -> bool:
        """Whether a value is the new value of a state with a number for each weight."""
        states = zip(self.program.states, self.program.outputs[1:], strict=True)
        return any(o == output and self.kinds[s] == Kind.ARRAY for s, o in states)

    # Stages

    def _pass(self, stage: int) -> list[str]:
        """The inner function over one leaf of each array, and its application to all."""
        values = self._values(stage, scalar=False)
        if not values:
            return []
        statements = self._lines(self.items[stage])
        is_last = stage == self.last_stage
        exported = [v for v in values if self._is_exported(v, stage)]
        exported.sort(key=lambda v: self.program.outputs.index(v) if is_last else v)
        returned = [
            ast.unparse(ast.UnaryOp(ast.USub(), self._use(v)))
            if is_last and self._is_negated(v)
            else self._text(v)
            for v in exported
        ]
        text = "\n".join([*statements, *returned])
        # A name may be that of an input that nothing reads, assigned again here.
        args = {arg for value in values for arg in self._operation(value).args}
        lists = [self.names.of(arg) for arg in self.lists if arg in args]
        lists = dict.fromkeys([*lists, *[LABEL.lower] * has_labels(self.program)])
        lists |= {self.names.gradient: None}
        read = [name for name in lists if re.search(rf"\b{name}\b", text)]
        read = read or [self.names.gradient]
        passes = sum(bool(self._values(s, scalar=False)) for s in range(self.last_stage + 1))
        function = "leaf" if passes == 1 else f"leaf_{stage + 1}"
        many = len(exported) > 1
        lines = ["", f"def {function}({', '.join(read)}):"]
        for line in [*statements, f"return {', '.join(returned)}"]:
            lines += wrapped(f"    {line}", LEAF_WIDTH)
        target = "steps" if many or is_last else self.names.of(exported[0])
        zipped = f"zip({', '.join(read)}, strict=True)"
        lines.append("")
        if len(zipped) > MAX_EXPRESSION - 40:
            lines.append(f"columns = {zipped}")
            zipped = "columns"
        lines.append(f"{target} = [{function}(*leaves) for leaves in {zipped}]")
        for position, value in enumerate(exported):
            name = self.names.of(value)
            if is_last:
                self.lists[value] = f"steps[{position}]" if many else "steps"
            else:
                self.lists[value] = name
                lines += [f"{name} = [new[{position}] for new in steps]"] if many else []
        return lines

    def _is_exported(self, value: int, stage: int) -> bool:
        """Whether a value is read outside of its stage's inner function."""
        if value in self.program.outputs:
            return True
        return any(self.stages[reader] > stage for reader in self.readers.get(value, ()))

    def _tree_sums(self, value: int) -> list[str]:
        """The sums over the tree that a result needs, as scalars."""
        op, args, _ = self._operation(value)
        if op.over is not Over.TREE or all(self._kind(arg) == Kind.SCALAR for arg in args):
            return []
        added = args[:1] if op.rule is last_scalar else args
        common = _joined([self._kind(arg) for arg in added])
        lists = {arg: self.lists[arg] for arg in added if self._kind(arg) != Kind.SCALAR}
        item: dict[int, str] = dict(zip(lists, ("x", "y"), strict=False))
        full = next((arg for arg in lists if self._kind(arg) == common), None)
        if full is None:  # rows meet columns: the gradient has the shape of both
            full = self.program.with_role(Role.GRADIENT)[0]
            lists[full], item[full] = self.names.gradient, self.names.fresh("like")
        # Numbers that shapes tell are Python's.
        sized = f"jnp.{{}}({item[full]})" if self._is_static(full) else f"{item[full]}.{{}}"
        nodes = [self._summand(arg, item, sized.format("shape"), common) for arg in added]
        items, sources = ", ".join(item.values()), ", ".join(lists.values())
        over = f"{items} in {sources}" if len(item) == 1 else (
            f"{items} in zip({sources}, strict=True)"
        )  # fmt: skip
        lines: list[str] = []
        self.totals[value] = []
        for expression in op.sums:
            total = self.names.of(value)
            total = total if op.lower == "{s0}" else self.names.fresh(f"{total}_sum")
            lines.append(f"terms = [{ast.unparse(self._filled(op, expression, nodes))} for {over}]")
            lines.append(f"{total} = jnp.asarray(sum(map(jnp.sum, terms)), scalar)")
            self.totals[value].append(total)
        if "{n}" in op.lower:
            total = self.names.fresh(f"{self.names.of(value)}_size")
            lines.append(f"{total} = sum({sized.format('size')} for {over})")
            self.totals[value].append(total)
        return lines

    def _is_static(self, arg: int) -> bool:
        return arg >= 0 and self.static[arg]

    def _summand(self, arg: int, item: dict[int, str], shape: str, common: Kind) -> ast.expr:
        """One leaf of an argument of a sum, of the common kind and the dtype of scalars.

        Args:
            arg: the argument.
            item: the name of each argument's leaf.
            shape: an expression for the shape that they have in common.
            common: the kind.
        """
        if self._kind(arg) == Kind.SCALAR:
            return parse(f"jnp.broadcast_to({self._text(arg)}, {shape})")
        name = item[arg]
        text = f"jnp.asarray({name}, scalar)" if self._is_static(arg) else f"{name}.astype(scalar)"
        if self._kind(arg) == common:
            return parse(text)
        if common == Kind.ARRAY and self._kind(arg) != Kind.PER_ARRAY:
            return parse(f"spread({text}, {shape.removesuffix('.shape')})")
        return parse(f"jnp.broadcast_to({text}, {shape})")


def _joined(kinds: list[Kind]) -> Kind:
    """The least kind that all cast up to."""
    common = broadcast(tuple(kinds))
    assert isinstance(common, Kind), "the program was checked"
    return common

"""The body of an emitted torch optimizer: what stands in its `step`. See `torch_emit.py`.

Each stage is a loop over the parameter groups. Scalars are computed once for each group, and what
has numbers for each parameter in an inner loop, where sums over the tree are added up too. An
elementwise program is one stage, and updates parameters together as well: `torch_foreach.py`.
"""

import ast
from dataclasses import dataclass

from optdsl.backends.emit_statements import parse
from optdsl.backends.torch_foreach import emit_together, why_not
from optdsl.backends.torch_statements import (
    INDENT,
    TorchStatements,
    assignments,
    for_writing,
    mentions,
    only,
    tuple_of,
)
from optdsl.ir import Program, Role
from optdsl.ops import NUMBERS, Kind
from optdsl.ops.kinds import broadcast

WIDTH = 96
"""Of a line of `step`, without its first indentation."""

DISPATCH = (
    "for group in self.param_groups:",
    "    params = self._with_gradients(group)",
    "    if takes_foreach(group, params):",
    "        self._update_together(group, params)",
    "    else:",
    "        self._update_each(group, params)",
)
"""The statements of `step` where both ways to update are methods."""


@dataclass(frozen=True)
class Stored:
    """A state variable: the key it is stored under, its kind and the dtype it is stored in, and
    whether it begins as a copy of the parameter, and not as zeros."""

    name: str
    kind: Kind
    dtype: str | None
    begins_as_weights: bool


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
    each: tuple[str, ...]
    """Those that update a group's parameters one after the other, if they are not in `step`."""
    together: tuple[str, ...]
    """Those that update them by foreach, if the program can."""


def emit_torch_body(program: Program, reserved: frozenset[str]) -> TorchBody:
    """The body of a program without dead state, its constants folded."""
    together = emit_together(program, reserved)
    return _Emitter(program, reserved).emit(together)


class _Emitter(TorchStatements):
    def emit(self, together: tuple[str, ...]) -> TorchBody:
        """The whole body."""
        written = [self._stage(stage) for stage in range(self.last_stage + 1)]
        lines: list[str] = []
        if len(written) > 1:
            pairs = "(group, self._with_gradients(group)) for group in self.param_groups"
            lines += [f"groups = [{pairs}]"]
            lines += ["groups = [(group, params) for group, params in groups if params]"]
        for head, body in written:
            lines += [*head, *(INDENT + line for line in body)]
        states = tuple(
            Stored(self.names.of(v), entry.kind, entry.dtype, entry.begins_as_weights)
            for v in self.program.states
            for entry in (self.program.inputs[v],)
        )
        return TorchBody(
            states,
            tuple(self.names.of(v) for v in self.hyperparameters),
            self._reads(Role.LEARNING_RATE),
            self._reads(Role.STEP),
            self.group_counts,
            self.parameter,
            DISPATCH if together else tuple(lines),
            tuple(written[0][1]) if together else (),
            together,
        )

    # Stages

    def _stage(self, stage: int) -> tuple[list[str], list[str]]:
        """The head of the loop over the groups with what must stand before it, and its body."""
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
            leaf.append(f"leaves_{stage + 1}.append({tuple_of(kept_leaf)})")
            kept_shared.append(f"leaves_{stage + 1}")
        inner = self._leaf_loop(stage, leaf, earlier, outer) if leaf else []
        if kept_leaf:
            inner.insert(0, f"leaves_{stage + 1} = []")
        if kept_shared:
            totals.append(f"kept_{stage + 1} = []")
            ends.append(f"kept_{stage + 1}.append({tuple_of(kept_shared)})")
        body = [*self._group_reads([*shared, *inner, *ends], shared), *shared, *inner, *ends]
        return [*totals, *self._group_loop(earlier, outer)], body

    def _group_loop(self, earlier: list[int], outer: bool) -> list[str]:
        if not outer:
            return ["for group in self.param_groups:"]
        if not earlier:
            return ["for group, params in groups:"]
        kept = [f"kept_{s + 1}" for s in earlier]
        items: list[str] = []
        for s in earlier:
            leaves = [f"leaves_{s + 1}"] if self._kept(s, True) else []
            items.append(tuple_of([*self._kept(s, False), *leaves]))
        zipped = f"zip(groups, {', '.join(kept)}, strict=True)"
        line = f"for (group, params), {', '.join(items)} in {zipped}:"
        if len(line) <= WIDTH - 4:
            return [line]
        return [f"columns = {zipped}", f"for (group, params), {', '.join(items)} in columns:"]

    def _leaf_loop(self, stage: int, leaf: list[str], earlier: list[int], outer: bool) -> list[str]:
        """The loop over a group's parameters."""
        if why_not(self.program, self.kinds) is None:
            return self._piece_loop(leaf)
        made = outer or self._has_scalar_states()
        params = "params" if made else "self._with_gradients(group)"
        carrying = [s for s in earlier if self._kept(s, True)]
        target, source = self.parameter, params
        if carrying:
            items = [self.parameter, *(tuple_of(self._kept(s, True)) for s in carrying)]
            lists = [params, *(f"leaves_{s + 1}" for s in carrying)]
            target, source = ", ".join(items), f"zip({', '.join(lists)}, strict=True)"
        body = [*self._leaf_reads(leaf), *leaf]
        return [f"for {target} in {source}:", *(INDENT + line for line in body)]

    def _piece_loop(self, leaf: list[str]) -> list[str]:
        """The loop over a group's parameters where each number is computed by itself."""
        whole, w = self.names.fresh("whole"), self.parameter
        gradient = only(self.program, Role.GRADIENT)
        g = self.names.fresh("g") if gradient is None else self.names.of(gradient)
        state = f"self.state[{whole}]" if self.program.states or self._reads(Role.STEP) else "{}"
        reads = self._leaf_reads(leaf, by_pieces=True)
        return [
            f"for {whole} in params:",
            f"{INDENT}for {w}, {g}, state in pieces({whole}, {state}):",
            *(INDENT * 2 + line for line in [*reads, *leaf]),
        ]

    def _group_reads(self, lines: list[str], shared: list[str]) -> list[str]:
        """What a group's statements read from it."""
        program, names, text = self.program, self.names, "\n".join(lines)
        pairs = self._numbers_of_group()
        if self.step is not None and self.group_counts:
            pairs.append((names.of(self.step), 'group["step"]'))
        for state in program.states:
            if self.kinds[state] == Kind.SCALAR:
                stored = program.inputs[state].dtype is not None
                source = f'group["{names.of(state)}"]' + (".to(scalar)" if stored else "")
                pairs.append((names.of(state), source))
        read = [(name, source) for name, source in pairs if mentions(text, name)]
        found: list[str] = []
        if self.last_stage == 0 and self._has_scalar_states():
            found += ["params = self._with_gradients(group)"]
            found += ["if not params:", f"{INDENT}continue"]
        reads = assignments(sorted(read, key=lambda pair: ".to(" in pair[1]))
        if mentions("\n".join([*reads, *shared]), "scalar"):
            found.append("scalar = torch.promote_types(params[0].dtype, torch.float32)")
        return [*found, *reads]

    def _leaf_reads(self, lines: list[str], by_pieces: bool = False) -> list[str]:
        """What a parameter's statements read from it; `pieces` gives the gradient and the state."""
        names, text = self.names, "\n".join(lines)
        pairs: list[tuple[str, str]] = []
        weight, gradient = only(self.program, Role.WEIGHT), only(self.program, Role.GRADIENT)
        if weight is not None and names.of(weight) != self.parameter:
            pairs.append((names.of(weight), self.parameter))
        if gradient is not None and not by_pieces:
            pairs.append((names.of(gradient), f"{self.parameter}.grad"))
        stored = [(names.of(s), names.of(s)) for s in self.program.states
                  if self.kinds[s] != Kind.SCALAR]  # fmt: skip
        if self.step is not None and not self.group_counts:
            stored.append((names.of(self.step), "step"))
        kept = [(name, f'state["{key}"]') for name, key in stored if mentions(text, name)]
        if (kept or 'state["' in text) and not by_pieces:
            pairs.append(("state", f"self.state[{self.parameter}]"))
        pairs = [pair for pair in pairs if pair[0] == "state" or mentions(text, pair[0])]
        scalar = f"scalar = torch.promote_types({self.parameter}.dtype, torch.float32)"
        return [
            *assignments(pairs),
            *assignments(kept),
            *([scalar] if mentions(text, "scalar") else []),
        ]

    def _has_scalar_states(self) -> bool:
        return any(self.kinds[state] == Kind.SCALAR for state in self.program.states)

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

    def _tree_sums(self, value: int) -> tuple[list[str], list[str]]:
        """The sums that a result needs: where they begin, and what a parameter adds."""
        if not self._sums_blocks(value):
            return [], []
        op, added = self._operation(value).op, self._added(value)
        common = self._joined([self._kind(arg) for arg in added])
        met = [arg for arg in added if self._kind(arg) == common]
        full = self.names.of(met[0]) if met else self.parameter
        if met and self._is_python(met[0]):
            shape, size = "()", "1"
        else:
            shape, size = f"{full}.shape", f"{full}.numel()"
        nodes = [self._summand(arg, full, shape, common) for arg in added]
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
            lines.append(f"{total} += {size}")
            self.totals[value].append(total)
        return begun, lines

    def _is_python(self, arg: int) -> bool:
        """Whether it is a number of Python's: shapes tell it."""
        return arg >= 0 and self._is_number(parse(self.names.of(arg)))

    def _summand(self, arg: int, full: str, shape: str, common: Kind) -> ast.expr:
        """An argument of a sum, of the common kind and the dtype of scalars."""
        kind = self._kind(arg)
        if self._is_python(arg):
            number = f"number({self.names.of(arg)}).to(scalar)"
            return parse(number if kind == common else f"torch.broadcast_to({number}, {shape})")
        if kind == common:
            return parse(f"{self.names.of(arg)}.to(scalar)")
        if common == Kind.ARRAY and kind not in NUMBERS:
            return parse(f"spread({self.names.of(arg)}.to(scalar), {full})")
        return self._tensors(parse(f"torch.broadcast_to({self._text(arg)}, {shape})"))

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
                *NUMBERS,
                Kind.ARRAY,
            ):
                text = f"spread({text}, {self.parameter})"
            stored = f'state["{names.of(state)}"]'
            stored = for_writing(stored) if self.kinds[state] in NUMBERS else stored
            writes.append(self._write(stored, text))
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
            writes.append(self._write(for_writing(f'group["{names.of(state)}"]'), text))
        return [*clones, *writes]

    def _write(self, target: str, text: str) -> str:
        copy = "fill_" if self._is_number(parse(text)) else "copy_"
        return f"{target}.{copy}({text})"

    @staticmethod
    def _joined(kinds: list[Kind]) -> Kind:
        common = broadcast(tuple(kinds))
        assert isinstance(common, Kind), "the program was checked"
        return common

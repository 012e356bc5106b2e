"""The `foreach` path of an emitted torch optimizer: many parameters by one call.

A value that has numbers for each parameter is a list with an entry for each, in the plural: `ms`
of `m`. A function that `torch._foreach_*` has takes and gives such lists; any other is the plain
statement of `torch_body.py` in a list comprehension. Both paths compute the same, but for what
`torch_fused.py` joins, which is rounded once less.
"""

import ast
import re

from optdsl.backends.emit_statements import Statements, parse, wrapped
from optdsl.backends.torch_foreach_table import FOREACH
from optdsl.backends.torch_fused import PREFIX, in_place, joined
from optdsl.backends.torch_statements import INDENT, TorchStatements, assignments, mentions, only
from optdsl.ir import Program, Role
from optdsl.ops import Kind, Over
from optdsl.passes.infer import infer

WIDTH = 88
"""Of a line, without the indentation of a loop in a method."""


def emit_together(program: Program, reserved: frozenset[str]) -> tuple[str, ...]:
    """The statements that update the parameters `params` of a `group` together.

    They are of a program without dead state, its constants folded; none for a program that has no
    such path: `why_not` says why.
    """
    if why_not(program, infer(program)) is not None:
        return ()
    return _Emitter(program, reserved).emit()


def why_not(program: Program, kinds: list[Kind]) -> str | None:
    """What keeps a program, whose values have these kinds, from updating by foreach, if anything.

    Only elementwise programs do, whose state has the parameters' shapes.
    """
    overs = {op.over for op, _, _ in program.operations}
    if Over.SHAPE in overs:
        return "rules by leaf"
    if Over.MATRIX in overs:
        return "functions of matrices"
    if overs != {Over.NOTHING}:
        return "sums"
    stored = [*program.states, *(output for output in program.outputs if output >= 0)]
    if any(kinds[value] != Kind.ARRAY for value in stored) or min(program.outputs) < 0:
        return "scalar states"
    return None


class _Emitter(TorchStatements):
    longest = 80

    def __init__(self, program: Program, reserved: frozenset[str]) -> None:
        super().__init__(program, reserved)
        self.plurals: dict[str, str] = {}
        self.assigned: set[str] = set()
        """The lists that statements made so far."""
        self.written: set[int] = set()
        """The states that statements made so far have overwritten."""
        self.is_joined = all(entry.dtype is None for entry in program.inputs)
        """With arrays of several dtypes, what is joined would be rounded to another."""

    def emit(self) -> tuple[str, ...]:
        """All statements."""
        values = self._values(0)
        shared = [line for v in self._values(0, False) for line in self._statement(v)]
        scalars = [v for v in values if self.per_leaf[v] and self.kinds[v] == Kind.SCALAR]
        arrays = [v for v in values if self.kinds[v] == Kind.ARRAY]
        counted = self._scalars([line for v in scalars for line in self._statement(v)], scalars)
        lines = [line for v in arrays for line in self._statement(v)] + self._writes()
        lines = [part for line in lines for part in wrapped(line, WIDTH)]
        lines = [*shared, *counted, *lines]
        text = "\n".join(lines)
        lines = self._reads_of_parameters(text) + lines
        numbers = [pair for pair in self._numbers_of_group() if mentions(text, pair[0])]
        head = self._head("\n".join(lines))
        return (*assignments(numbers), head, *(INDENT + line if line else "" for line in lines))

    def _head(self, text: str) -> str:
        """The loop over what is updated together."""
        gradient = only(self.program, Role.GRADIENT)
        lists = ["gs" if gradient is None else self._plural(gradient), "states"]
        read = [name if mentions(text, name) else "_" for name in lists]
        ws = self._plural_name(self.parameter)
        return f"for {ws}, {', '.join(read)} in batches(params, self.state):"

    def _plural_name(self, name: str) -> str:
        if name not in self.plurals:
            self.plurals[name] = self.names.fresh(f"{name}s")
        return self.plurals[name]

    def _plural(self, value: int) -> str:
        return self._plural_name(self.names.of(value))

    def _reads_of_parameters(self, text: str) -> list[str]:
        """What the statements read from parameters and states."""
        program, ws = self.program, self._plural_name(self.parameter)
        lines: list[str] = []
        weight = only(program, Role.WEIGHT)
        if weight is not None and self._plural(weight) != ws:
            lines.append(f"{self._plural(weight)} = {ws}")
        stored = [(self._plural(s), self.names.of(s)) for s in program.states]
        stored += [] if self.step is None else [(self._plural(self.step), "step")]
        read = [(name, key) for name, key in stored if mentions(text, name)]
        if mentions(text, "scalar"):
            lines.append(f"scalar = torch.promote_types({ws}[0].dtype, torch.float32)")
        return [*lines, *(f'{name} = [state["{key}"] for state in states]' for name, key in read)]

    def _scalars(self, lines: list[str], scalars: list[int]) -> list[str]:
        """The scalars of each parameter that lists are computed from, and a function for them."""
        read = [v for v in scalars if self._meets_lists(v)]
        if not read or self.step is None:
            return []
        names, plurals = (
            ", ".join(map(of, read)) if len(read) > 1 else f"({of(read[0])},)"
            for of in (self.names.of, self._plural)
        )
        return [
            "",
            f"def scalars({self.names.of(self.step)}):",
            *(INDENT + part for line in lines for part in wrapped(line, WIDTH - len(INDENT))),
            f"{INDENT}return {names}",
            "",
            f"{plurals} = by_step(scalars, {self._plural(self.step)})",
        ]

    def _meets_lists(self, value: int) -> bool:
        return any(self.kinds[reader] == Kind.ARRAY for reader in self.readers.get(value, ()))

    # Statements of lists

    def _statement(self, value: int) -> list[str]:
        if self.kinds[value] == Kind.SCALAR:
            return super()._statement(value)
        template, args = self._foreach(value), dict.fromkeys(self._operation(value).args)
        text = "" if template is None else self._filled_foreach(value, template)
        lines: list[str] = []
        if template is None or len(text) > self.longest:
            for arg in args:
                if arg in self.inlined and self.kinds[arg] == Kind.ARRAY:
                    lines += self._assigned(arg, self.inlined.pop(arg))
            plain = template is None
            text = self._comprehension(value) if plain else self._filled_foreach(value, template)
        if self._is_inlined(value, text):
            self.inlined[value] = parse(text)
            return lines
        return [*lines, *self._assigned(value, parse(text))]

    def _assigned(self, value: int, node: ast.expr) -> list[str]:
        """The statements that make a list; a state's new value may be made in its own arrays."""
        name, program = self._plural(value), self.program
        state = next((s for s, v in zip(program.states, program.outputs[1:], strict=True)
                      if v == value and self._plural(s) == name), None)  # fmt: skip
        if state is not None and self.is_joined and name not in self.assigned:
            lines = in_place(node, name)
            if lines is not None:
                self.written.add(state)
                return lines
        self.assigned.add(name)
        return [f"{name} = {ast.unparse(node)}"]

    def _is_inlined(self, value: int, text: str) -> bool:
        if not super()._is_inlined(value, text) or self.kinds[value] == Kind.SCALAR:
            return super()._is_inlined(value, text)
        if self._foreach(value) is None:
            return False
        for reader in self.readers.get(value, ()):
            op, args, _ = self._operation(reader)
            place = f"{{{op.args[args.index(value)]}}}"
            if (self._foreach(reader) or "").count(place) != 1:
                return False
        return True

    def _foreach(self, value: int) -> str | None:
        """A result's expression by foreach, with places for its arguments, if there is one."""
        op, args, _ = self._operation(value)
        if args and self._meets_early(args[0], value) is not None:
            return None
        forms = "".join(map(self._form, args))
        found = (text for form, text in FOREACH.get(op.name, {}).items() if _fits(form, forms))
        return next(found, None)

    def _form(self, arg: int) -> str:
        """What an argument is, in the letters of `FOREACH`; T for a tensor of all parameters."""
        if arg >= 0 and self.per_leaf[arg]:
            return "L" if self.kinds[arg] == Kind.ARRAY else "S"
        return "N" if self._is_number(parse(self._text(arg))) else "T"

    def _filled_foreach(self, value: int, template: str) -> str:
        op, args, _ = self._operation(value)
        nodes = [parse(self._listed(arg)) for arg in args]
        node = Statements._filled(self, op, template, nodes)
        target = self._plural(value) if value in self.program.outputs[1:] else ""
        return ast.unparse(self._joined(node, target))

    def _joined(self, node: ast.expr, target: str = "") -> ast.expr:
        return joined(node, self._is_number, target) if self.is_joined else node

    def _listed(self, arg: int) -> str:
        """An argument as foreach takes it."""
        match self._form(arg):
            case "L":
                return self._text(arg) if arg in self.inlined else self._plural(arg)
            case "S":
                return f"numbers({self._plural(arg)})"
            case _:
                return self._text(arg)

    def _comprehension(self, value: int) -> str:
        """The plain expression for each parameter."""
        text = ast.unparse(self._expression(value))
        args = [arg for arg in self._operation(value).args if arg >= 0 and self.per_leaf[arg]]
        read = list(dict.fromkeys(self.names.of(arg) for arg in args))
        if self.parameter not in read and mentions(text, self.parameter):
            read.insert(0, self.parameter)
        lists = [self._plural_name(name) for name in read]
        if len(read) == 1:
            return f"[{text} for {read[0]} in {lists[0]}]"
        return f"[{text} for {', '.join(read)} in zip({', '.join(lists)}, strict=True)]"

    # Writes

    def _writes(self) -> list[str]:
        """What changes the parameters and their state, in the order of `torch_body.py`."""
        program, ws = self.program, self._plural_name(self.parameter)
        first: list[str] = []
        update = self._listed(program.outputs[0])
        write = self._change(ws, update)
        if len(write) > WIDTH:
            name = self._plural_name("update")
            first, write = [f"{name} = {update}"], self._change(ws, name)
        writes = [write]
        for state, output in zip(program.states, program.outputs[1:], strict=True):
            if output == state or state in self.written:
                continue
            text = self._listed(output)
            if self._owner(output) is not None:
                old = self.names.fresh(f"old_{text}")
                first.append(f"{old} = [x.clone() for x in {text}]")
                text = old
            stored = f'[state["{self.names.of(state)}"] for state in states]'
            writes.append(f"torch._foreach_copy_({stored}, {text})")
        return [*first, *writes]

    def _change(self, parameters: str, update: str) -> str:
        return ast.unparse(self._joined(parse(f"{PREFIX}sub_({parameters}, {update})")))


def _fits(form: str, forms: str) -> bool:
    return "T" not in forms and re.fullmatch(form, forms) is not None

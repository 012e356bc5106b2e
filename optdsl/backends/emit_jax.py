"""Statements of emitted JAX source: scalars, and one leaf, with branches that its shape decides."""

import ast
from types import MappingProxyType

from optdsl.backends.emit_branches import (
    OPPOSITE,
    Branch,
    Branches,
    Item,
    Key,
    Literal,
    bare_text,
    condition_text,
    flattened,
    leaf_values,
    number_text,
    sign_of,
)
from optdsl.backends.emit_names import is_nameless
from optdsl.backends.emit_statements import Statements, method, parse, shape_of
from optdsl.ir import Program
from optdsl.ops import BY_LINE, NUMBERS, Kind, OpDef, Over
from optdsl.ops.kinds import last_scalar
from optdsl.passes.finite_weights import decay_terms
from optdsl.passes.overwrites import made_after


class JaxStatements(Statements):
    """See `Statements`; leaf by leaf, in the order of the stages."""

    module = "jnp"
    cast = ".astype("
    along = MappingProxyType(
        {Over.ROW: ", axis=1, keepdims=True", Over.COLUMN: ", axis=0, keepdims=True"}
    )
    size = ".size"

    def __init__(self, program: Program, reserved: frozenset[str]) -> None:
        self.branches = Branches(program)
        terms = decay_terms(program).items()
        self.decays = {v: term for v, term in terms if is_nameless(program.name_of(term.product))}
        super().__init__(program, reserved, made_after(program))
        for value in self.branches.of_shape:
            self.static[value] = True

    def _order(self) -> list[int]:
        stages = leaf_values(self.program, self.kinds, self.stages)
        self.items = [self.branches.arranged(values) for values in stages]
        if not self.branches.decided:
            return super()._order()
        order: list[int] = []
        for stage, items in enumerate(self.items):
            order += [*self._values(stage, scalar=True), *flattened(items)]
        return order

    def _values(self, stage: int, scalar: bool | None = None) -> list[int]:
        """The results computed in a stage, in order."""
        end = self.first + len(self.program.operations)
        found = [v for v in range(self.first, end) if self.stages[v] == stage]
        return [v for v in found if scalar is None or (self.kinds[v] == Kind.SCALAR) == scalar]

    def _lines(self, items: list[Item]) -> list[str]:
        """The statements of one leaf."""
        lines: list[str] = []
        for item in items:
            if isinstance(item, int):
                lines += [*self._statement(item), *self._made_after(item)]
            else:
                lines += self._branch(item)
        return lines

    def _branch(self, branch: Branch) -> list[str]:
        then, other = self._arm(branch, True), self._arm(branch, False)
        sign = sign_of(self.branches.decided[branch.choices[0]])
        if not then:
            then, other, sign = other, then, OPPOSITE[sign]
        if not then:
            return []
        sides = (self._text(arg) for arg in self._operation(branch.choices[0]).args[:2])
        lines = [f"if {condition_text(sign, *sides)}:", *(f"    {line}" for line in then)]
        return lines + (["else:", *(f"    {line}" for line in other)] if other else [])

    def _arm(self, branch: Branch, which: bool) -> list[str]:
        """The statements of one side; its results get the names that they have afterwards."""
        items = branch.arms[0 if which else 1]
        inside = flattened(items)
        chosen = {v: self._operation(v).args[2 if which else 3] for v in branch.choices}
        for choice, arg in chosen.items():
            others = [each for v, each in chosen.items() if v != choice]
            if arg in inside and self._may_be_called(arg, self.names.of(choice), inside, others):
                self.names.rename(arg, self.names.of(choice))
        lines = self._lines(items)
        for choice, arg in chosen.items():
            name, text = self.names.of(choice), self._taken(choice, arg)
            lines += [f"{name} = {text}"] if text != name else []
        return lines

    def _may_be_called(self, value: int, name: str, inside: list[int], others: list[int]) -> bool:
        """Whether a value may have a name that holds another value until the end of a branch."""
        later = inside[inside.index(value) + 1 :]
        read = {arg for v in later for arg in self._operation(v).args} | {*others}
        used = {v for v in (*read, *later) if v >= 0 and v != value}
        return value not in others and all(self.names.of(v) != name for v in used)

    def _taken(self, choice: int, arg: int) -> str:
        """One side of a `where` as it is needed afterwards."""
        kind, text = self.kinds[choice], self._text(arg)
        if self._kind(arg) == kind and not self._is_python(arg):
            return text
        like = self.names.gradient
        if kind != Kind.ARRAY:
            text = self._array(text)
            if kind in NUMBERS:
                return text
            return f"jnp.broadcast_to({text}, {shape_of(kind, like)})"
        if self._kind(arg) not in NUMBERS:
            text = f"spread({text}, {like})"
        return f"cast({text}, {like})"

    def _kept(self, paths: set[tuple[Literal, ...]]) -> str:
        """The condition for a state variable to be kept; empty if there is none."""
        alone = {path[0] for path in paths if len(path) == 1}
        if () in paths or any((key, not holds) in alone for key, holds in alone):
            return ""
        texts = [
            " and ".join(self._asked(key, holds) for key, holds in path)
            for path in sorted(paths, key=repr)
            if len(path) == 1 or not alone & {*path}
        ]
        return " or ".join(texts)

    def _asked(self, key: Key, holds: bool) -> str:
        """A condition on the shape of the array `w`, and on its `label`."""
        sides = (bare_text(side, "w", self.names.of) for side in key[1:])
        return condition_text(sign_of(key) if holds else OPPOSITE[sign_of(key)], *sides)

    def _statement(self, value: int) -> list[str]:
        key = self.branches.of_shape.get(value)
        if key is None:
            return super()._statement(value)
        node = parse(number_text(key, self.names.gradient, self.names.of))
        if is_nameless(self._operation(value).name):
            self.inlined[value] = node
            return []
        return [f"{self.names.of(value)} = {ast.unparse(node)}"]

    def _made_after(self, value: int) -> list[str]:
        """The statements that order a state's new value: see `passes/overwrites.py`."""
        name, earlier = self.names.of(value), self.order.get(value, ())
        lines = [f"{name} = after({name}, {self._text(other)})" for other in earlier]
        if value in earlier:
            lines[-1] += "  # so that it is kept, not computed again"
        return lines

    @property
    def _like(self) -> str:
        return self.names.gradient

    def _scalar(self, op: OpDef, args: tuple[int, ...]) -> ast.expr:
        if all(arg < 0 or self.static[arg] for arg in args) and op.name in _UNSAFE:
            return self._filled(op, _UNSAFE[op.name], [self._use(arg) for arg in args])
        return super()._scalar(op, args)

    def _expression(self, value: int) -> ast.expr:
        if self._is_of_lines(value):
            return method(super()._expression(value), "reshape", f"{self.names.gradient}.shape")
        if value not in self.decays:
            return super()._expression(value)
        term = self.decays[value]
        args = map(self._text, (term.x, term.hyperparameter, term.weights))
        return parse(f"with_decay({', '.join(args)})")

    def _is_of_lines(self, value: int) -> bool:
        """Whether an array is computed from rows or columns, elementwise: as a matrix, so that
        what becomes of a vector's columns is of their own shape, and written in their place."""
        op, args, _ = self._operation(value)
        is_elementwise = self.kinds[value] == Kind.ARRAY and op.over is Over.NOTHING
        return is_elementwise and any(self._kind(arg) in BY_LINE for arg in args)

    def _is_python(self, arg: int) -> bool:
        return arg < 0 or self.static[arg] or arg in self.branches.of_shape

    def _array(self, number: str) -> str:
        return f"jnp.asarray({number}, scalar)"

    def _is_cast(self, arg: int, value: int) -> bool:
        if self._is_python(arg):
            return False
        return self.kinds[arg] != self.kinds[value] or self._is_of_lines(value)

    def _meeting(self, arg: int, value: int) -> ast.expr:
        if (value, arg) in self.casts:
            return parse(self.casts[value, arg])
        if not self._is_cast(arg, value):
            other = self._meets_early(arg, value)
            if other is None:
                return self._use(arg)
            both = f"{self._text(arg)}, {self._text(other)}"
            return method(self._use(arg), "astype", f"jnp.result_type({both})")
        kind = self.kinds[value]
        args = self._operation(value).args
        if self._operation(value).op.rule is last_scalar:
            args = args[:2] if len(args) > 2 else args[:1]
        met = [a for a in dict.fromkeys(args) if self._kind(a) == kind and not self._is_python(a)]
        met = list(map(self.names.of, met))
        node = self._use(arg)
        if self.kinds[arg] == Kind.ARRAY:
            return parse(f"matrix({ast.unparse(node)})")
        if not met:
            return node
        dtype = f"{met[0]}.dtype" if len(met) == 1 else f"jnp.result_type({', '.join(met)})"
        return method(node, "astype", dtype)


_UNSAFE = {
    "/": "jnp.divide({x}, {y})",
    "reciprocal": "jnp.divide(1, {x})",
}
"""Functions of Python numbers alone that would raise where jax.numpy gives infinity."""

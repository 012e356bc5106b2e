"""What every row of the table must have, and which rows there are."""

import math
import re

import pytest

from optdsl.ops import BY_NAME, CALLABLE, OPS, FunctionSet, OpDef, Over, functions
from optdsl.ops.expression import lower_function, sum_functions
from optdsl.passes.by_leaf import LABEL

APPENDIX_H = [
    "abs", "cos", "sin", "tan", "arcsin", "arccos", "arctan", "exp", "log", "sinh", "cosh",
    "tanh", "arcsinh", "arccosh", "arctanh", "sign", "exp2", "exp10", "expm1", "log10", "log2",
    "log1p", "square", "sqrt", "cube", "cbrt", "reciprocal",
    "+", "-", "*", "/", "power", "maximum", "minimum",
    "norm", "global_norm", "dot", "cosine_sim", "clip_by_global_norm", "interpolate",
    "get_pi", "get_e", "get_eps",
]  # fmt: skip
"""The functions of the paper's appendix H, in its order, the second `sign` left out."""

ALIASES = {"interp": "interpolate", "clip": "clip_by_global_norm", "min": "minimum",
           "max": "maximum"}  # fmt: skip

KEYWORDS = {"where", "range", "def", "for", "in", "return", "from", "import"}


def name(op: OpDef) -> str:
    return op.name


def test_the_set_paper_is_appendix_h() -> None:
    assert len(APPENDIX_H) == 43
    assert sorted(op.name for op in functions(FunctionSet.PAPER)) == sorted(APPENDIX_H)


def test_the_papers_aliases_are_known() -> None:
    assert {alias: op.name for op in OPS for alias in op.aliases} == ALIASES


def test_names_and_aliases_are_unique() -> None:
    names = [each for op in OPS for each in (op.name, *op.aliases)]
    assert len(set(names)) == len(names)
    assert not set(names) & KEYWORDS
    assert len({op.hash_id for op in OPS}) == len(OPS)
    assert list(BY_NAME.values()) == list(OPS)


def test_every_row_can_be_written() -> None:
    for op in OPS:
        assert op.name in CALLABLE or op.syntax, op.name
    assert all(CALLABLE[each] is op for op in OPS for each in op.aliases)


@pytest.mark.parametrize("op", OPS, ids=name)
def test_a_row_is_complete(op: OpDef) -> None:
    assert op.sets
    assert re.fullmatch(r"[^\s].*\.", op.doc), "docs are sentences"
    assert len(set(op.args)) == len(op.args)
    assert op.version >= 1
    assert bool(op.sums) == (op.over in (Over.ARRAY, Over.TREE, Over.ROW, Over.COLUMN))


@pytest.mark.parametrize("op", OPS, ids=name)
def test_the_templates_use_exactly_the_arguments(op: OpDef) -> None:
    places = set(re.findall(r"\{(\w+)\}", op.lower + "".join(op.sums)))
    if op is LABEL:  # emitted source has a variable of that name
        assert op.lower == op.name
        return
    given = set(op.args) | {f"s{i}" for i in range(len(op.sums))}
    assert given <= places <= given | {"n"}
    assert set(re.findall(r"\{(\w+)\}", op.syntax)) in (set(), set(op.args))


@pytest.mark.parametrize("op", OPS, ids=name)
def test_the_templates_are_expressions(op: OpDef) -> None:
    assert callable(lower_function(op))
    assert len(sum_functions(op)) == len(op.sums)


def test_constants_have_their_values() -> None:
    values = {op.name: op.ref() for op in OPS if not op.args}
    assert values == {"get_pi": math.pi, "get_e": math.e, "get_eps": 1e-8}

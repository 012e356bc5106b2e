"""The static facts of a program."""

import json
from dataclasses import fields

import pytest

from optdsl.backends.fingerprint import behavioural_hash
from optdsl.backends.properties import properties
from optdsl.backends.sheet import ExampleLeaf, Hyperparameter, Sheet, StateVariable, static_sheet
from optdsl.diagnostics import Source
from optdsl.frontend import elaborate, find_source, stdlib
from optdsl.passes.canonical import canonical_hash
from optdsl.passes.hashing import structural_hash


def sheet_of(text: str) -> Sheet:
    return static_sheet(elaborate(Source("<test>", text)))


def test_a_program() -> None:
    text = (
        "def train(w, g, m, v, lr, b=0.9, unused=1.0):\n"
        "    m = interp(g, m, b)\n"
        "    v = cos(v)\n"
        "\n"
        "    # a comment\n"
        "    u = sign(m)\n"
        "    return lr * u, m, v\n"
    )
    elaborated = elaborate(Source("<test>", text))
    program = elaborated.program
    assert program is not None
    assert static_sheet(elaborated) == Sheet(
        statements=3,
        live_statements=2,
        dead_lines=[3],
        states=[
            StateVariable("m", "array", "float32", True),
            StateVariable("v", "array", "float32", False),
        ],
        hyperparameters=[Hyperparameter("b", 0.9, True), Hyperparameter("unused", 1.0, False)],
        hash={
            "structural": structural_hash(program),
            "canonical": canonical_hash(program),
            "behavioural": behavioural_hash(program),
        },
        state_bytes_per_weight=4.0,
        bytes_read_per_weight=12.0,
        bytes_written_per_weight=8.0,
        bytes_depend_on_shape=False,
        example_leaves=[
            ExampleLeaf([1024, 1024], 4 << 20, 12 << 20, 8 << 20),
            ExampleLeaf([1024], 4 << 10, 12 << 10, 8 << 10),
        ],
        arithmetic_per_weight=6,
        properties=properties(program),
        hazards=[],
    )


def test_no_states_no_statements() -> None:
    sheet = sheet_of("def train(g):\n    return g\n")
    assert (sheet.statements, sheet.live_statements, sheet.dead_lines) == (0, 0, [])
    assert (sheet.states, sheet.hyperparameters, sheet.state_bytes_per_weight) == ([], [], 0.0)


@pytest.mark.parametrize(
    ("annotation", "size"),
    [
        ("", 4.0),
        (": array", 4.0),
        (": float32", 4.0),
        (": bfloat16", 2.0),
        (": float16", 2.0),
        (": float64", 8.0),
        (": array[bfloat16]", 2.0),
        (": scalar", 0.0),
        (": per_array", 0.0),
        (": scalar[float64]", 0.0),
    ],
)
def test_bytes_of_state(annotation: str, size: float) -> None:
    text = f"def train(g, m{annotation}, dead):\n    return g + m, norm(norm(1)) * m, dead + g\n"
    if "scalar" in annotation or "per_array" in annotation:
        text = text.replace("norm(norm(1)) * m", "m + 1")
    assert sheet_of(text).state_bytes_per_weight == size


@pytest.mark.parametrize(
    ("body", "depends"),
    [
        ("def train(g, m):\n    return m, g\n", False),
        ("def train(g, m: per_array, k: scalar):\n    return g * m * k, norm(g), k + 1\n", False),
        ("def train(g, m: per_column):\n    return g * m, column_mean(g)\n", True),
        ("def train(g, m):\n    return where(rank(g) == 3, m, g), g\n", True),
        ("def train(g, m):\n    return where(label(g) == 1, m, g), g\n", True),
        ("def train(w, g):\n    return where(rank(g) == 1, g, w)\n", True),
    ],
)
def test_whether_bytes_depend_on_the_shape(body: str, depends: bool) -> None:
    assert sheet_of(body).bytes_depend_on_shape is depends


def test_statements_that_are_repeated_count_once() -> None:
    sheet = sheet_of(
        "def train(g, lr):\n    for i in range(3):\n        g = g + i\n        x = cos(g)\n"
        "    return lr * g\n"
    )
    assert (sheet.statements, sheet.live_statements, sheet.dead_lines) == (2, 1, [4])


@pytest.mark.parametrize("name", stdlib())
def test_nothing_in_the_standard_library_is_dead(name: str) -> None:
    sheet = static_sheet(elaborate(find_source(name)))
    assert sheet.dead_lines == []
    assert all(state.live for state in sheet.states)
    assert all(entry.live for entry in sheet.hyperparameters)


def test_as_json() -> None:
    sheet = static_sheet(elaborate(find_source("lion")))
    assert list(sheet.to_json()) == [field.name for field in fields(Sheet)]
    assert json.loads(json.dumps(sheet.to_json())) == sheet.to_json()
    assert sheet.state_bytes_per_weight == 4.0

"""Everything that is known about a program without training with it."""

from dataclasses import asdict, dataclass

from optdsl.backends.fingerprint import behavioural_hash
from optdsl.backends.properties import Hazard, Properties, hazards, properties
from optdsl.frontend import Elaborated
from optdsl.ir import Program, Role
from optdsl.passes.canonical import canonical_hash
from optdsl.passes.cost import bytes_depend_on_shape, cost_per_weight, leaf_bytes
from optdsl.passes.hashing import structural_hash
from optdsl.passes.live import live_values
from optdsl.passes.shapes import Leaf
from optdsl.passes.statements import live_statements

WEIGHT_DTYPE = "float32"
"""What the sheet supposes weights to be."""

EXAMPLE_SHAPES = ((1024, 1024), (1024,))
"""A matrix and a vector: for each its bytes are given, since matrices and rules by leaf have a cost
for a shape and not for a weight."""


@dataclass(frozen=True)
class StateVariable:
    """A state variable; `dtype` is that for float32 weights."""

    name: str
    kind: str
    dtype: str
    live: bool


@dataclass(frozen=True)
class Hyperparameter:
    """A hyperparameter; it is live if the update depends on it."""

    name: str
    default: float
    live: bool


@dataclass(frozen=True)
class ExampleLeaf:
    """What a step moves and keeps for float32 weights of one shape, trained alone and without a
    label."""

    shape: list[int]
    state_bytes: int
    """Of its live state, all kinds included."""
    bytes_read: int
    bytes_written: int


@dataclass(frozen=True)
class Sheet:
    """The static facts; field names are those of `inspect --json`."""

    statements: int
    """Assignments in `train`."""
    live_statements: int
    dead_lines: list[int]
    """The lines of those that the update does not depend on."""
    states: list[StateVariable]
    hyperparameters: list[Hyperparameter]
    hash: dict[str, str]
    state_bytes_per_weight: float
    """Of the live state that is of the weights' shapes, on whatever leaf, for float32 weights."""
    bytes_read_per_weight: float
    """Of weights, gradients and the same state, each once."""
    bytes_written_per_weight: float
    """Of weights and the same state."""
    bytes_depend_on_shape: bool
    """Whether the bytes per weight do not hold for arrays of all shapes and labels."""
    example_leaves: list[ExampleLeaf]
    """One for each of `EXAMPLE_SHAPES`."""
    arithmetic_per_weight: int
    """Functions of numbers in a step, the subtraction from the weight among them."""
    properties: Properties
    hazards: list[Hazard]

    def to_json(self) -> dict[str, object]:
        """The object that `inspect --json` prints."""
        return asdict(self)


def static_sheet(elaborated: Elaborated) -> Sheet:
    """The sheet of a program without errors."""
    program = elaborated.program
    assert program is not None
    live = live_values(program)
    cost = cost_per_weight(program, WEIGHT_DTYPE)
    alive = live_statements(elaborated)
    lines = [trace.line for trace in elaborated.statements]
    inputs = list(enumerate(program.inputs))
    states = [
        StateVariable(e.name, str(e.kind), e.dtype or WEIGHT_DTYPE, bool(live[i]))
        for i, e in inputs
        if e.role is Role.STATE
    ]
    return Sheet(
        statements=len(alive),
        live_statements=sum(alive),
        dead_lines=[line for line, is_live in zip(lines, alive, strict=True) if not is_live],
        states=states,
        hyperparameters=[
            Hyperparameter(e.name, e.default, bool(live[i]))
            for i, e in inputs
            if e.default is not None
        ],
        hash={
            "structural": structural_hash(program),
            "canonical": canonical_hash(program),
            "behavioural": behavioural_hash(program),
        },
        state_bytes_per_weight=float(cost.bytes_kept),
        bytes_read_per_weight=float(cost.bytes_read),
        bytes_written_per_weight=float(cost.bytes_written),
        bytes_depend_on_shape=bytes_depend_on_shape(program),
        example_leaves=[_example(program, shape) for shape in EXAMPLE_SHAPES],
        arithmetic_per_weight=cost.arithmetic,
        properties=properties(program),
        hazards=hazards(elaborated),
    )


def _example(program: Program, shape: tuple[int, ...]) -> ExampleLeaf:
    found = leaf_bytes(program, Leaf(shape, WEIGHT_DTYPE))
    return ExampleLeaf(list(shape), found.bytes_kept, found.bytes_read, found.bytes_written)

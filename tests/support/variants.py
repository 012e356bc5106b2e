"""Programs written otherwise: the same for the structural hash, or changed in one place.

`same(program, random, ...)` renames, reorders, commutes, and adds what is dead; `changed(program,
random)` changes one operand, function, constant or output, and mostly the meaning with it.
"""

from dataclasses import dataclass, field, replace
from random import Random

from optdsl.frontend.roles import ROLE_NAMES
from optdsl.ir import Builder, Input, Operation, Program, Role, verify
from optdsl.ops import BY_NAME, OPS, Kind, Mismatch, castable
from optdsl.passes.infer import KindError

NAMES = tuple("abcdehijklnopqruyz")

RESULTS = 1_000
"""The first value of a draft that is no input."""


@dataclass
class Draft:
    """A program that is easy to change: operands do not depend on where anything is written."""

    inputs: list[Input]
    """Their values are 0, 1, ... in this order, whatever `order` is."""
    order: list[int]
    """The order in which the inputs are written."""
    operations: dict[int, Operation]
    """By the results' values, from RESULTS on, in the order in which they are written."""
    constants: list[float]
    update: int
    new: dict[int, int] = field(default_factory=dict[int, int])
    """States' new values, by state."""

    def program(self, doc: str = "") -> Program:
        """The draft as a program."""
        builder = Builder(tuple(self.inputs[i] for i in self.order))
        values: dict[int, int] = {old: new for new, old in enumerate(self.order)}

        def operand(value: int) -> int | float:
            return values[value] if value >= 0 else self.constants[~value]

        for value, (op, args, name) in self.operations.items():
            values[value] = builder.add(op, [operand(arg) for arg in args], name)
        states = [i for i in self.order if self.inputs[i].role is Role.STATE]
        outputs = [operand(self.update), *(operand(self.new[state]) for state in states)]
        return verify(builder.finish(outputs, doc))


def draft(program: Program) -> Draft:
    """The program to be changed."""
    first = len(program.inputs)

    def moved(value: int) -> int:
        return value if value < first else value - first + RESULTS

    operations = {
        RESULTS + i: operation._replace(args=tuple(map(moved, operation.args)))
        for i, operation in enumerate(program.operations)
    }
    update, *new = map(moved, program.outputs)
    return Draft(
        list(program.inputs),
        list(range(first)),
        operations,
        list(program.constants),
        update,
        dict(zip(program.states, new, strict=True)),
    )


def kinds_of(work: Draft) -> dict[int, Kind]:
    """The kind of every value.

    Raises:
        KindError: if the draft is no valid program.
    """
    kinds = {i: entry.kind for i, entry in enumerate(work.inputs)}

    def kind_of(value: int) -> Kind:
        return kinds[value] if value >= 0 else Kind.SCALAR

    for value, (op, args, _) in work.operations.items():
        kind = op.kind(tuple(kind_of(arg) for arg in args))
        if isinstance(kind, Mismatch):
            raise KindError
        kinds[value] = kind
    if kind_of(work.update) != Kind.ARRAY:
        raise KindError
    for state, value in work.new.items():
        if not castable(kind_of(value), work.inputs[state].kind):
            raise KindError
    return kinds


def renamed(program: Program, random: Random) -> Program:
    """Other names for states, hyperparameters, inputs and results."""
    work = draft(program)
    names = random.sample(NAMES, len(work.inputs))
    for i, entry in enumerate(work.inputs):
        synonyms = [name for name, role in ROLE_NAMES.items() if role is entry.role]
        work.inputs[i] = replace(entry, name=random.choice(synonyms) if synonyms else names[i])
    for value, operation in work.operations.items():
        work.operations[value] = operation._replace(name=random.choice(NAMES))
    return work.program("Another docstring.")


def reordered(program: Program, random: Random) -> Program:
    """The inputs in another order (the states' new values with them), and so the statements."""
    work = draft(program)
    random.shuffle(work.order)
    waiting, done = dict(work.operations), dict[int, Operation]()
    while waiting:
        ready = [
            value
            for value, operation in waiting.items()
            if all(arg not in waiting for arg in operation.args)
        ]
        value = random.choice(ready)
        done[value] = waiting.pop(value)
    work.operations = done
    return work.program()


def commuted(program: Program, random: Random) -> Program:
    """Operands of commutative functions exchanged."""
    work = draft(program)
    for value, operation in work.operations.items():
        if operation.op.commutative and random.random() < 0.7:
            work.operations[value] = operation._replace(args=operation.args[::-1])
    return work.program()


def with_dead_statements(program: Program, random: Random) -> Program:
    """Statements that nothing reads, anywhere."""
    work = draft(program)
    kinds = kinds_of(work)
    at_hand, done = list(range(len(program.inputs))), dict[int, Operation]()
    for value, operation in [*work.operations.items(), (-1, None)]:
        while random.random() < 0.4:
            op = random.choice([op for op in OPS if op.args])
            args = tuple(random.choice(at_hand) for _ in op.args)
            kind = op.kind(tuple(kinds[arg] for arg in args))
            if isinstance(kind, Mismatch):
                continue
            dead = 2 * RESULTS + len(done)
            done[dead], kinds[dead] = Operation(op, args, random.choice(NAMES)), kind
            at_hand.append(dead)
        if operation is not None:
            done[value] = operation
            at_hand.append(value)
    work.operations = done
    return work.program()


def with_dead_state(program: Program, random: Random) -> Program:
    """A state variable that lives on itself and on others, and that nothing else reads."""
    work = draft(program)
    dead = len(work.inputs)
    kind, dtype = random.choice((Kind.ARRAY, Kind.SCALAR)), random.choice((None, "bfloat16"))
    work.inputs.append(Input("dead", Role.STATE, kind, None, dtype))
    work.order.insert(random.randint(0, dead), dead)
    others = [i for i, each in kinds_of(draft(program)).items() if each == kind] or [dead]
    args = (dead, random.choice(others))
    work.new[dead] = 2 * RESULTS
    work.operations[2 * RESULTS] = Operation(BY_NAME[random.choice("+-*")], args, "dead")
    return work.program()


def with_doubled_state(program: Program, random: Random) -> Program:
    """A state variable kept twice; some of what read the first reads the second."""
    work = draft(program)
    if not program.states:
        return program
    state = random.choice(program.states)
    double = len(work.inputs)
    work.inputs.append(replace(work.inputs[state], name="double"))
    work.order.insert(random.randint(0, double), double)

    def either(arg: int) -> int:
        return double if arg == state and random.random() < 0.5 else arg

    for value, operation in work.operations.items():
        work.operations[value] = operation._replace(args=tuple(map(either, operation.args)))
    work.update = either(work.update)
    work.new[double] = work.new[state]
    work.new = {each: either(value) for each, value in work.new.items()}
    return work.program()


SAME = (renamed, reordered, commuted, with_dead_statements, with_dead_state, with_doubled_state)
"""What the structural hash must not see."""


def changed(program: Program, random: Random) -> Program:
    """One thing changed; the program itself if nothing that was tried gives a valid one."""
    for _ in range(20):
        work = draft(program)
        at_hand = [*range(len(work.inputs)), *work.operations]
        what = random.choice(("operand", "swap", "function", "constant", "update", "new", "states"))
        value = random.choice([*work.operations]) if work.operations else None
        if what in ("operand", "swap", "function") and value is not None:
            op, args, name = work.operations[value]
            if what == "operand" and args:
                other = [v for v in at_hand if v < value]
                args = list(args)
                args[random.randrange(len(args))] = random.choice(other)
            elif what == "swap":
                args = random.sample(args, len(args))
            else:
                op = random.choice([each for each in OPS if len(each.args) == len(args)])
            work.operations[value] = Operation(op, tuple(args), name)
        elif what == "constant" and work.constants:
            i = random.randrange(len(work.constants))
            work.constants[i] = random.choice((-work.constants[i], 0.25, 0.0, 7.0))
        elif what == "update":
            work.update = random.choice(at_hand)
        elif what == "new" and work.new:
            work.new[random.choice([*work.new])] = random.choice(at_hand)
        elif what == "states" and len(work.new) > 1:
            a, b = random.sample([*work.new], 2)
            work.new[a], work.new[b] = work.new[b], work.new[a]
        else:
            continue
        try:
            kinds_of(work)
        except KindError:
            continue
        return work.program()
    return program

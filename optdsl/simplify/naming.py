"""The last stage: constants that are hyperparameters become ones, and names say what values are."""

from dataclasses import replace

from optdsl.ir import Builder, Input, Operation, Program, Role, rewrite
from optdsl.ops import Kind
from optdsl.passes.algebra import Level
from optdsl.simplify.check import difference, passes
from optdsl.simplify.steps import Trail

UPDATE = "update"

RESULTS: dict[str, str] = {
    "abs": "size",
    "clip_by_global_norm": "clipped",
    "cosine_sim": "cosine",
    "dot": "product",
    "global_norm": "length",
    "interpolate": "average",
    "norm": "length",
    "sign": UPDATE,
    "sqrt": "root",
    "square": "squared",
    "/": "ratio",
    "+": "total",
    "-": "difference",
    "*": "scaled",
}
"""What a result is called that is neither an update, a state's new value nor weight decay."""

EPS_BELOW = 1e-3
"""A constant up to this that is added to something is an epsilon."""


def lift_learning_rate(trail: Trail) -> float:
    """Take a constant factor of `lr` out of the program, where `lr` is read nowhere else.

    Returns:
        The factor: the learning rate for the new program is that for the old one times it.
    """
    program = trail.program
    rates = program.with_role(Role.LEARNING_RATE)
    readers = [op for op in program.operations if set(rates) & set(op.args)]
    if len(readers) != 1 or set(rates) & set(program.outputs):
        return 1.0
    op, args, _ = readers[0]
    constants = [program.constants[~arg] for arg in args if arg < 0]
    if op.name != "*" or not constants or not constants[0] > 0.0:
        return 1.0
    factor = constants[0]

    def drop(builder: Builder, operation: Operation, args: list[int | float]) -> int | float:
        is_product = any(isinstance(arg, float) for arg in args) and rates[0] in args
        return rates[0] if is_product else builder.add(operation.op, args, operation.name)

    changed = rewrite(program, drop)
    gap = difference(program, changed, Level.APPROX, factor)
    if not passes(gap, Level.APPROX):
        return 1.0
    reason = f"a factor {factor:.6g} of `lr` belongs to the learning rate"
    trail.take("names", reason, changed, {"difference": gap, "learning_rate_factor": factor})
    return factor


def name_values(trail: Trail) -> None:
    """Give constants that are hyperparameters, states and results names that say what they are."""
    before = trail.program
    program = _without_unused(_with_hyperparameters(_with_state_names(before)))
    program = _with_result_names(program)
    if program == before:
        return
    gap = difference(before, program, Level.EXACT)
    if passes(gap, Level.EXACT):
        trail.take("names", "hyperparameters and names", program, {"difference": gap})


def _with_state_names(program: Program) -> Program:
    """Averages of gradients are called momentum, averages of squares second_moment."""
    names = {entry.name for entry in program.inputs}
    inputs = list(program.inputs)
    for state, output in zip(program.states, program.outputs[1:], strict=True):
        meaning = _meaning(program, state, output)
        if meaning and meaning not in names:
            names.add(meaning)
            inputs[state] = replace(inputs[state], name=meaning)
    return replace(program, inputs=tuple(inputs))


def _meaning(program: Program, state: int, output: int) -> str:
    first = len(program.inputs)
    if output < first:
        return ""
    op, args, _ = program.operations[output - first]
    if op.name != "interpolate" or state not in args[:2]:
        return ""
    other = args[0] if args[1] == state else args[1]
    if other in program.with_role(Role.GRADIENT):
        return "momentum"
    is_square = other >= first and program.operations[other - first].op.name == "square"
    return "second_moment" if is_square else ""


def _with_hyperparameters(program: Program) -> Program:
    """Constants with a known part in the program become hyperparameters."""
    first = len(program.inputs)
    weights = program.with_role(Role.WEIGHT)
    taken = {entry.name for entry in program.inputs}
    found: dict[tuple[int, int], tuple[str, float]] = {}
    betas = 0
    for position, (op, args, _) in enumerate(program.operations):
        for place, arg in enumerate(args):
            if arg >= 0:
                continue
            value = program.constants[~arg]
            if op.name == "interpolate" and place == 2:
                betas += 1
                name = f"b{betas}"
            elif op.name == "*" and set(args) & set(weights):
                name = "weight_decay"
            elif op.name == "+" and 0.0 < value <= EPS_BELOW:
                name = "eps"
            else:
                continue
            if name not in taken:
                taken.add(name)
                found[position, place] = name, value
    found = dict(sorted(found.items(), key=lambda entry: entry[1][0]))
    extra = [Input(name, Role.HYPERPARAMETER, Kind.SCALAR, value) for name, value in found.values()]
    inputs = (*program.inputs, *extra)
    moved = {key: first + i for i, key in enumerate(found)}

    def operand(arg: int) -> int:
        return arg if arg < first else arg + len(extra)

    operations = tuple(
        operation._replace(
            args=tuple(
                moved.get((position, place), operand(arg))
                for place, arg in enumerate(operation.args)
            )
        )
        for position, operation in enumerate(program.operations)
    )
    outputs = tuple(map(operand, program.outputs))
    wide = Program(inputs, program.constants, operations, outputs, program.doc)
    # The constants that are gone are dropped by rebuilding.
    return wide.rebuilt(frozenset(range(len(inputs))), list(range(len(operations))))


def _without_unused(program: Program) -> Program:
    """Without hyperparameters that nothing reads."""
    read = {arg for operation in program.operations for arg in operation.args}
    read |= set(program.outputs)
    kept = frozenset(
        i
        for i, entry in enumerate(program.inputs)
        if entry.role is not Role.HYPERPARAMETER or i in read
    )
    return program.rebuilt(kept, list(range(len(program.operations))))


def _with_result_names(program: Program) -> Program:
    """Results are named after the state they renew, the update they lead to, or their function."""
    first = len(program.inputs)
    weights = set(program.with_role(Role.WEIGHT))
    states = dict(zip(program.outputs[1:], program.states, strict=True))
    updates = _update_chain(program)
    builder = Builder(program.inputs)
    values: list[int | float] = list(range(first))
    for value, (op, args, name) in enumerate(program.operations, start=first):
        if value in states:
            name = program.inputs[states[value]].name
        elif value in updates:
            name = UPDATE
        elif op.name == "*" and set(args) & weights:
            name = "decay"
        else:
            name = RESULTS.get(op.name, name)
        operands = [values[arg] if arg >= 0 else program.constants[~arg] for arg in args]
        values.append(builder.add(op, operands, name))
    outputs = [values[o] if o >= 0 else program.constants[~o] for o in program.outputs]
    return builder.finish(outputs, program.doc)


def _update_chain(program: Program) -> set[int]:
    """The values on the way to the update: of the last statement's operands the one that is no
    weight decay, and so on, down to what is no arithmetic or kept as state."""
    first = len(program.inputs)
    chain: set[int] = set()
    value = program.outputs[0]
    while value >= first and value not in chain and value not in program.outputs[1:]:
        chain.add(value)
        op, args, _ = program.operations[value - first]
        if op.name not in ("*", "/", "+", "-"):
            break
        weights = set(program.with_role(Role.WEIGHT))
        results = [arg for arg in args if arg >= first and not _reads(program, arg) & weights]
        results = results or [arg for arg in args if arg >= first]
        value = (results[0] if op.name == "/" else results[-1]) if results else -1
    return chain


def _reads(program: Program, value: int) -> set[int]:
    operation = program.operations[value - len(program.inputs)]
    return set(operation.args)

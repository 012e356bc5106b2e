"""Numbers that are computed only where they are chosen.

    where(step == 1, global_norm(w), global_norm(w - w0))

needs one of two sums over the tree, and a step should read the arrays of that one alone.
"""

from collections.abc import Collection, Mapping

from optdsl.ir import Program
from optdsl.ops import Kind, Over
from optdsl.passes.infer import infer

Branches = tuple[frozenset[int], frozenset[int]]
"""What only the third argument of a `where` needs, and what only the fourth does."""


def choices(program: Program) -> dict[int, Branches]:
    """For each choice between two numbers, the results that nothing else reads.

    Only choices that save a sum over the tree: the others cost less than to branch.
    """
    kinds, first = infer(program), len(program.inputs)
    readers: dict[int, list[tuple[int, int]]] = {output: [(-1, 0)] for output in program.outputs}
    for value, operation in enumerate(program.operations, start=first):
        for position, arg in enumerate(operation.args):
            readers.setdefault(arg, []).append((value, position))
    found: dict[int, Branches] = {}
    for choice, (op, _, _) in enumerate(program.operations, start=first):
        if op.is_choice and kinds[choice] == Kind.SCALAR:
            third, fourth = (_only_for(choice, position, readers, first) for position in (2, 3))
            if any(program.operations[v - first].op.over is Over.TREE for v in third | fourth):
                found[choice] = third, fourth
    return found


def not_yet(values: Collection[int], choices: Mapping[int, Branches]) -> set[int]:
    """Those that are left to the choices among them."""
    return {later for value in values for branch in choices.get(value, ()) for later in branch}


def _only_for(
    choice: int, position: int, readers: Mapping[int, list[tuple[int, int]]], first: int
) -> frozenset[int]:
    """The results that are read for one argument of a choice alone."""
    found: set[int] = set()
    for value in range(choice - 1, first - 1, -1):
        reads = readers.get(value, [])
        if reads and all(read == (choice, position) or read[0] in found for read in reads):
            found.add(value)
    return frozenset(found)

"""The one table of built-in tasks: families, and for each a ladder of sizes.

`digits_mlp` is the task that a search is made on; `digits_mlp@10x` and `digits_mlp@100x` cost some
ten and a hundred times its compute, to see whether what was found there holds on what is larger.
Most of the growth is the model's. Reading the table loads no JAX.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from optdsl.tasks.task import Task


@dataclass(frozen=True)
class Rung:
    """One size of a family."""

    compute: int
    """What one training computes, as a multiple of the first rung's: 1, 10, 100."""
    cpu_seconds: float
    """What one training of AdamW by the register machine takes on one idle core, as
    `benchmarks/tasks.py` prints it; docs/benchmarks.md says on which machine."""
    size: Mapping[str, int]
    """Keyword arguments of the family's function."""


@dataclass(frozen=True)
class Family:
    """Tasks that differ only in size."""

    name: str
    doc: str
    """What is learned by what, in a few words."""
    module: str
    """The module of this package that has the family's function, which is called as the family; it
    is imported when a task is made."""
    rungs: tuple[Rung, ...]


@dataclass(frozen=True)
class TaskEntry:
    """A built-in task: a family at one size."""

    family: Family
    rung: Rung

    @property
    def name(self) -> str:
        """What the task is asked for by; the first rung's name is the family's."""
        compute = self.rung.compute
        return self.family.name if compute == 1 else f"{self.family.name}@{compute}x"

    @property
    def doc(self) -> str:
        """One line, such as `MLP on 8x8 handwritten digits; hidden 32, steps 300`."""
        size = ", ".join(f"{name} {value}" for name, value in self.rung.size.items())
        return f"{self.family.doc}; {size}"

    def make(self) -> "Task":
        """The task."""
        module = import_module(f"optdsl.tasks.{self.family.module}")
        return getattr(module, self.family.name)(self.name, self.doc, **self.rung.size)


FAMILIES: tuple[Family, ...] = (
    Family(
        "digits_mlp",
        "MLP on 8x8 handwritten digits",
        "digits",
        (
            Rung(1, 0.01, {"hidden": 32, "steps": 300}),
            Rung(10, 0.08, {"hidden": 160, "steps": 600}),
            Rung(100, 1.1, {"hidden": 800, "steps": 1200}),
        ),
    ),
    Family(
        "digits_diffusion",
        "MLP that finds the noise in 8x8 handwritten digits",
        "diffusion",
        (
            Rung(1, 0.015, {"hidden": 16, "steps": 300}),
            Rung(10, 0.095, {"hidden": 80, "steps": 600}),
            Rung(100, 1.0, {"hidden": 400, "steps": 1200}),
        ),
    ),
    Family(
        "digits_vit",
        "Vision Transformer on 8x8 handwritten digits",
        "vit",
        (
            Rung(1, 0.07, {"width": 16, "layers": 1, "heads": 2, "steps": 300}),
            Rung(10, 0.36, {"width": 32, "layers": 2, "heads": 2, "steps": 430}),
            Rung(100, 2.9, {"width": 64, "layers": 4, "heads": 4, "steps": 570}),
        ),
    ),
    Family(
        "text_mlp",
        "MLP on the characters of a novel",
        "text",
        (
            Rung(1, 0.02, {"hidden": 32, "window": 3, "steps": 300}),
            Rung(10, 0.12, {"hidden": 138, "window": 6, "steps": 600}),
            Rung(100, 4.4, {"hidden": 620, "window": 8, "steps": 1200}),
        ),
    ),
    Family(
        "text_lm",
        "Transformer on the characters of a novel",
        "text",
        (
            Rung(1, 0.07, {"width": 16, "layers": 1, "heads": 2, "context": 16, "steps": 300}),
            Rung(10, 0.43, {"width": 24, "layers": 2, "heads": 2, "context": 32, "steps": 450}),
            Rung(100, 5.5, {"width": 32, "layers": 4, "heads": 2, "context": 64, "steps": 700}),
        ),
    ),
    Family(
        "sparse_regression",
        "linear regression from few examples, of whose inputs few matter",
        "sparse",
        (
            Rung(1, 0.002, {"inputs": 100, "steps": 300}),
            Rung(10, 0.015, {"inputs": 400, "steps": 750}),
            Rung(100, 0.1, {"inputs": 1600, "steps": 1875}),
        ),
    ),
    Family(
        "rosenbrock",
        "curved valley of 8 weights, for tests",
        "rosenbrock",
        (
            Rung(1, 0.0004, {"steps": 200}),
            Rung(10, 0.002, {"steps": 2000}),
            Rung(100, 0.016, {"steps": 20000}),
        ),
    ),
    Family(
        "quadratic",
        "noisy quadratic of 18 weights, for tests",
        "quadratic",
        (
            Rung(1, 0.0003, {"steps": 50}),
            Rung(10, 0.0007, {"steps": 500}),
            Rung(100, 0.005, {"steps": 5000}),
        ),
    ),
)
"""Every family, in the order of lists."""

TASKS: tuple[TaskEntry, ...] = tuple(
    TaskEntry(family, rung) for family in FAMILIES for rung in family.rungs
)
"""Every built-in task, family by family."""

BY_NAME: dict[str, TaskEntry] = {entry.name: entry for entry in TASKS}

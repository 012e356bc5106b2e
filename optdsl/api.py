"""What `import optdsl` gives: programs from text, and what can be done with one.

program = optdsl.load("lion")
tx = program.optimizer(learning_rate=3e-4, weight_decay=1.0)
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from optdsl import frontend, ir
from optdsl.diagnostics import OptError, Source
from optdsl.passes.fold import default_values

if TYPE_CHECKING:
    import optax

    from optdsl.passes.shapes import ValueType

__all__ = ["OptError", "OptimizerProgram", "load", "parse"]


@dataclass(frozen=True)
class OptimizerProgram:
    """A checked program."""

    ir: ir.Program

    @property
    def doc(self) -> str:
        """The program's docstring."""
        return self.ir.doc

    @property
    def hyperparameters(self) -> dict[str, float]:
        """Defaults by name."""
        return default_values(self.ir)

    @cached_property
    def optimizer(self) -> "Callable[..., optax.GradientTransformationExtraArgs]":
        """`optimizer(learning_rate, **hyperparameters)` makes an optax transformation."""
        from optdsl.backends.optax_transform import optimizer_factory

        return optimizer_factory(self.ir)

    def infer(self, weights: Any) -> "dict[str, ValueType]":
        """Kind, shapes and dtypes of every value for a real weight tree.

        Args:
            weights: any pytree of arrays, or of `jax.ShapeDtypeStruct`s.

        Returns:
            By name, in order; the last of several values of a name. The blocks are in the order of
            the tree's leaves.

        Raises:
            TypeError: for a leaf that is not a real floating-point array.
        """
        import jax

        from optdsl.backends.jax_lowering import leaf_types
        from optdsl.passes.shapes import infer_leaves

        types = infer_leaves(self.ir, leaf_types(jax.tree.leaves(weights)))
        return {self.ir.name_of(value): found for value, found in enumerate(types)}

    def __str__(self) -> str:
        """The program as `.opt` text, one function a statement."""
        return ir.print_program(self.ir)


def load(name: str) -> OptimizerProgram:
    """The program of a file, or of the standard library.

    Args:
        name: a path, the name of a program of the standard library such as `"lion"`, or `"-"`.

    Raises:
        OptError: with all diagnostics, if the file can't be read or has errors.
    """
    return OptimizerProgram(frontend.load(frontend.find_source(name)))


def parse(text: str) -> OptimizerProgram:
    """The program of a text.

    Raises:
        OptError: with all diagnostics.
    """
    return OptimizerProgram(frontend.load(Source("<string>", text)))

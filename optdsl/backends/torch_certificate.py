"""The certificate that a program's two outputs agree: trajectories under JAX and under torch.

Both sides start from the same weights and follow their own: the gradient is a NumPy function of the
weights and of noise, in the dtype of the weights, so that the two differ in the optimizer alone.
"""

import importlib.util
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import torch

from optdsl.backends.optax_transform import optimizer_factory
from optdsl.backends.torch_emit import emit_torch_source, torch_class_name
from optdsl.ir import Program
from optdsl.passes.by_leaf import has_labels
from optdsl.passes.hashing import structural_hash

LEARNING_RATE = 0.01

TOLERANCES: dict[str, float] = {"float32": 1e-5, "float64": 1e-9}
"""The dtypes to run in, and the largest relative difference that agrees. Rounding hides nothing of
the meaning in double precision."""

SHAPES: dict[str, tuple[int, ...]] = {
    "scale": (),
    "bias": (5,),
    "matrix": (4, 5),
    "cube": (2, 3, 4),
    "kernel": (2, 2, 3, 2),
}
"""The weights: 0 to 4 dimensions. The bias starts at 0, and its first five gradients are 0."""

GROUPS = {leaf: int(i > 1) for i, leaf in enumerate(SHAPES)}
"""The parameter group of each in torch, and its label."""

Arrays = dict[str, Any]


@dataclass(frozen=True)
class Difference:
    """The largest relative difference of a run: of a weight array at a step, over the largest
    number that it has had by then, since an array of one number may pass through zero."""

    dtype: str
    seed: int
    foreach: bool
    """Whether torch updated the weights together, or one after the other."""
    steps: int
    """How many were compared: fewer than wanted where all weights become NaN or infinite."""
    largest: float
    """Infinity where one side is finite and the other is not."""
    leaf: str
    step: int
    """Where it is."""
    moved: float
    """The largest change of a weight from its first value: that there was something to compare."""


@dataclass(frozen=True)
class Certificate:
    """What was compared, with what, and what was found."""

    program: str
    hash: str
    versions: dict[str, str]
    learning_rate: float
    steps: int
    seeds: tuple[int, ...]
    tolerances: dict[str, float]
    differences: tuple[Difference, ...]

    @property
    def agreed(self) -> bool:
        """Whether every difference is within its dtype's tolerance, and there was one to see."""
        return all(d.largest <= self.tolerances[d.dtype] and d.moved for d in self.differences)

    @property
    def largest(self) -> dict[str, float]:
        """The largest difference of all seeds, by dtype."""
        return {
            dtype: max(d.largest for d in self.differences if d.dtype == dtype)
            for dtype in self.tolerances
        }

    def to_json(self) -> dict[str, Any]:
        """The certificate as JSON has it."""
        return {"agreed": self.agreed, **asdict(self)}


def certify(program: Program, name: str, steps: int, seeds: Sequence[int]) -> Certificate:
    """Compare the trajectories of a program's two outputs, with its hyperparameters' defaults.

    A torch optimizer that has two ways to update is run in both.

    Args:
        program: a valid program.
        name: what the certificate calls it.
        steps: how many training steps.
        seeds: of the first weights and the noise.
    """
    make = _load_torch(program, name)
    differences: list[Difference] = []
    for dtype in TOLERANCES:
        with _doubles(dtype == "float64"):
            for seed in seeds:
                weights, noise = _problem(dtype, seed, steps)
                ours = list(_jax_weights(program, weights, noise))
                for foreach in (False, True) if hasattr(make, "_update_together") else (False,):
                    theirs = _torch_weights(make, program, weights, noise, foreach)
                    differences.append(_compare(dtype, seed, foreach, weights, ours, theirs))
    libraries = ("optdsl", "jax", "jaxlib", "optax", "numpy", "torch")
    return Certificate(
        name,
        structural_hash(program),
        {library: version(library) for library in libraries},
        LEARNING_RATE,
        steps,
        tuple(seeds),
        TOLERANCES,
        tuple(differences),
    )


def _doubles(enabled: bool) -> AbstractContextManager[None]:
    """A context in which JAX has float64, or not."""
    library: Any = jax
    found = getattr(library, "enable_x64", None)  # its name in newer versions of JAX
    return library.experimental.enable_x64(enabled) if found is None else found(enabled)


def _problem(dtype: str, seed: int, steps: int) -> tuple[Arrays, list[Arrays]]:
    """The first weights, and the noise of each step."""
    random = np.random.default_rng(seed)

    def normal(shape: tuple[int, ...]) -> Any:
        return np.asarray(random.normal(size=shape), dtype)

    weights = {leaf: normal(shape) for leaf, shape in SHAPES.items()}
    weights["bias"] = np.zeros_like(weights["bias"])
    noise = [{leaf: normal(shape) for leaf, shape in SHAPES.items()} for _ in range(steps)]
    for each in noise[:5]:
        each["bias"] = np.zeros_like(each["bias"])
    return weights, noise


def _gradients(weights: Arrays, noise: Arrays) -> Arrays:
    """Of 0.5 (w - 0.3 n)² + 0.6 cos(1.5 w + n), not convex, and another function in every step.

    Its curvature, from -0.35 to 2.35, is small enough that a difference in the last bit does not
    grow by orders of magnitude. Where the noise is 0, so is the gradient.
    """

    def gradient(w: Any, n: Any) -> Any:
        slope = w - 0.3 * n - 0.9 * np.sin(1.5 * w + n)
        return np.where(n == 0, 0, slope).astype(w.dtype)

    with np.errstate(all="ignore"):
        return {leaf: gradient(w, noise[leaf]) for leaf, w in weights.items()}


def _jax_weights(program: Program, weights: Arrays, noise: list[Arrays]) -> Iterator[Arrays]:
    """The weights after each step, by JAX."""
    labelled = {"labels": GROUPS} if has_labels(program) else {}
    tx = optimizer_factory(program)(LEARNING_RATE, **labelled)
    held: Any = {leaf: jnp.asarray(w) for leaf, w in weights.items()}
    state = tx.init(held)

    @jax.jit
    def step(gradients: Any, state: Any, held: Any) -> Any:
        updates, state = tx.update(gradients, state, held)
        return optax.apply_updates(held, updates), state

    for each in noise:
        held, state = step(_gradients(jax.tree.map(np.asarray, held), each), state, held)
        yield jax.tree.map(np.asarray, held)


def _load_torch(program: Program, name: str) -> Any:
    """The class that the torch source defines."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "certified.py"
        path.write_text(emit_torch_source(program, name), encoding="utf-8")
        spec = importlib.util.spec_from_file_location("optdsl_certified", path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    return getattr(module, torch_class_name(name))


def _torch_weights(
    make: Any, program: Program, weights: Arrays, noise: list[Arrays], foreach: bool
) -> Iterator[Arrays]:
    """The weights after each step, by torch."""
    held = {leaf: torch.nn.Parameter(torch.tensor(w)) for leaf, w in weights.items()}
    groups: list[dict[str, Any]] = [{"params": []}, {"params": []}]
    for leaf, w in held.items():
        groups[GROUPS[leaf]]["params"].append(w)
    if has_labels(program):
        groups[1]["label"] = 1
    optimizer = make(groups, lr=LEARNING_RATE, foreach=foreach)
    for each in noise:
        now = {leaf: w.detach().numpy() for leaf, w in held.items()}
        for leaf, gradient in _gradients(now, each).items():
            held[leaf].grad = torch.from_numpy(np.asarray(gradient))
        optimizer.step()
        yield {leaf: w.detach().numpy().copy() for leaf, w in held.items()}


def _compare(
    dtype: str,
    seed: int,
    foreach: bool,
    weights: Arrays,
    ours: Iterable[Arrays],
    theirs: Iterable[Arrays],
) -> Difference:
    """Both trajectories, up to the first step after which no weight is finite."""
    largest, leaf, at, moved, steps = 0.0, next(iter(SHAPES)), 1, 0.0, 0
    scales = {name: _largest(first) for name, first in weights.items()}
    for step, (a, b) in enumerate(zip(ours, theirs, strict=True), start=1):
        if not any(np.any(np.isfinite(array)) for array in a.values()):
            break
        steps = step
        for name, first in weights.items():
            moved = max(moved, _largest(a[name] - first))
            scales[name] = max(scales[name], _largest(a[name]), _largest(b[name]))
            found = _relative(a[name], b[name], scales[name])
            if found > largest:
                largest, leaf, at = found, name, step
    return Difference(dtype, seed, foreach, steps, largest, leaf, at, moved)


def _relative(a: Any, b: Any, scale: float) -> float:
    """The largest difference over `scale`; infinity where only one is finite."""
    finite = np.isfinite(a) & np.isfinite(b)
    if not np.array_equal(a[~finite], b[~finite], equal_nan=True):
        return np.inf
    with np.errstate(all="ignore"):
        difference = np.max(np.abs(a[finite] - b[finite]), initial=0.0)
    return float(difference) / scale if difference else 0.0


def _largest(array: Any) -> float:
    """The largest of an array's finite numbers, without its sign."""
    return float(np.max(np.abs(array[np.isfinite(array)]), initial=0.0))

"""The tests that optax's wheel ships for its own optimizers, with ours under optax's names.

Both files look an optimizer up by name in a module that they import; `Case.run` puts a registry in
that module's place for as long as it runs.
"""

import inspect
import unittest
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any
from unittest.mock import patch

import optax
from optax._src import alias_test
from optax.contrib import _common_test as contrib_test

import optdsl

RENAMED = {"optimistic_adam_v2": "optimistic_adam", "sign_sgd": "signsgd", "sgd": "momentum"}
"""The program for an optimizer of another name; `sgd` is tested with momentum."""

OTHER = {"optimistic_adam", "adafactor", "noisy_sgd", "polyak_sgd", "sm3", "momo", "momo_adam"}
OTHER |= {"sophia", "galore"}
"""Optimizers of these names are none of the standard library's."""


@dataclass(frozen=True)
class Case:
    """One test of the suites: the class and its method, and what it is given."""

    suite: type[unittest.TestCase]
    method: str
    test: str
    """The test's name, without a number."""
    options: dict[str, Any] = field(hash=False)

    def __str__(self) -> str:
        """A readable name."""
        given = {k: v for k, v in self.options.items() if v is not None or "dtype" in k}
        return f"{self.test}-{'-'.join(map(_shown, given.values()))}"

    @property
    def program(self) -> str:
        """The program that stands for the optimizer, if there is one."""
        name = self.options["opt_name"]
        if name == "sgd" and "momentum" not in self.options["opt_kwargs"]:
            return "sgd"
        return RENAMED.get(name, name)

    def skipped(self) -> str:
        """Why the case is none for programs, or nothing."""
        name, given = self.options["opt_name"], self.options.get("opt_kwargs")
        if given is None:
            return "a state's dtype is the program's, not an argument"
        if name in OTHER or (name == "rmsprop" and "momentum" in given):
            return "no program"
        if "complex" in _shown(self.options.get("dtype", "")):
            return "complex weights are refused: optax.contrib.split_real_and_imaginary is for them"
        if "learning_rate" not in given and name != "cocob":
            return "without a learning rate, which the program reads"
        if "warmup_steps" in given and self.test == "test_optimizers":
            return "looks for the average in the state of optax's own class"
        return ""

    def run(self) -> unittest.TestResult:
        """The result with our optimizers in the place of optax's."""
        result = unittest.TestResult()
        name = self.options["opt_name"]
        module = inspect.getmodule(self.suite)
        assert module is not None
        in_contrib = hasattr(module, "contrib") and hasattr(module.contrib, name)
        place = "contrib" if in_contrib else "alias"
        registry = ModuleType(place)
        registry.__dict__.update(vars(getattr(module, place)))
        setattr(registry, name, _factory(self.program))
        with patch.object(module, place, registry):
            self.suite(self.method).run(result)
        return result


def _factory(program: str) -> Callable[..., Any]:
    """What makes the program's optimizer with the arguments that optax's has."""
    make = optdsl.load(program).optimizer

    def cocob(learning_rate: Any = 1.0, weight_decay: Any = 0.0) -> Any:
        return make(learning_rate, weight_decay=weight_decay)

    def schedule_free(learning_rate: Any, warmup_steps: int = 0) -> Any:
        return make(optax.warmup_constant_schedule(0, learning_rate, warmup_steps))

    adapted = {"cocob": cocob, "schedule_free_sgd": schedule_free}
    return (adapted | {"schedule_free_adamw": schedule_free}).get(program, make)


def cases() -> Iterator[Case]:
    """All cases of the two suites about optimizers by name."""
    for suite in (alias_test.AliasTest, contrib_test.ContribTest):
        for method in unittest.defaultTestLoader.getTestCaseNames(suite):
            bound = getattr(suite, method)
            given = inspect.getclosurevars(bound).nonlocals["testcase_params"]
            yield Case(suite, method, bound.__wrapped__.__name__, given)


def _shown(value: Any) -> str:
    if isinstance(value, dict):
        return ",".join(f"{k}={v}" for k, v in value.items())
    return getattr(value, "__name__", None) or getattr(value, "name", None) or str(value)

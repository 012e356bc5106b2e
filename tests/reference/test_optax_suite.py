"""optax's own tests of optimizers by name, with ours registered under optax's names.

A sample in plain runs; all of them with `pytest tests/reference/test_optax_suite.py --whole`.
"""

from typing import Any

import pytest
from support.optax_suite import Case, cases

SAMPLE = [
    "test_optimization-rprop-learning_rate=0.1-_setup_parabola-float32",
    "test_optimizers_accept_extra_args-adan-learning_rate=0.1",
    "test_optimizers_can_be_wrapped_in_inject_hyperparams-lion-learning_rate=0.01,weight_decay=0.0001",
    "test_optimizers_can_be_wrapped_in_inject_hyperparams-novograd-learning_rate=0.001",
    "test_state_shape_dtype_shard_stability-lamb-learning_rate=0.001-bfloat16",
    "test_gradient_accumulation-schedule_free_adamw-learning_rate=0.01,warmup_steps=5000-bfloat16",
    "test_optimizers-dog-learning_rate=1.0-_setup_parabola-float32",
    "test_optimizers_accept_extra_args-schedule_free_sgd-learning_rate=0.01,warmup_steps=5000-False",
    "test_optimizers_can_be_wrapped_in_inject_hyperparams-cocob-weight_decay=0.01",
    "test_preserve_dtype-adopt-learning_rate=0.01-bfloat16",
]
"""What plain runs do: most of the tests, each on another program."""

CASES = {str(case): case for case in cases()}


def pytest_generate_tests(metafunc: Any) -> None:
    if "case" in metafunc.fixturenames:
        chosen = CASES if metafunc.config.getoption("--whole") else SAMPLE
        metafunc.parametrize("case", [CASES[name] for name in chosen], ids=str)


@pytest.mark.filterwarnings("default")  # as optax runs them
def test_optax_suite(case: Case) -> None:
    if reason := case.skipped():
        pytest.skip(reason)
    result = case.run()
    assert result.testsRun == 1
    assert not [text for _, text in (*result.failures, *result.errors)]
    for _, reason in result.skipped:
        pytest.skip(f"optax skips it: {reason}")


def test_names_are_distinct_and_most_cases_have_a_program() -> None:
    every = list(cases())
    assert len(CASES) == len(every)
    assert sum(not case.skipped() for case in every) > len(every) / 2

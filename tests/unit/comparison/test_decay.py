"""Which hyperparameter is the weight decay, and programs that get one."""

import numpy as np
import pytest

from optdsl.backends.reference import reference_step
from optdsl.comparison.decay import decay_name, with_decay
from optdsl.diagnostics import Source
from optdsl.frontend import find_source, load
from optdsl.ir import Program, print_program


def program(text: str) -> Program:
    return load(Source("test.opt", text))


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("def train(w, g, lr, λ=0.1):\n    return lr * (g + λ * w)\n", "λ"),
        ("def train(w, g, lr, a=0.9, c=0.1):\n    return lr * (a * g + w * c)\n", "c"),
        ("def train(w, g, lr, c=0.0):\n    return lr * sign(g) + c * w\n", "c"),
        # coupled to the gradient: through momentum, and through the sign
        (
            "def train(w, g, m, lr, c=0.1):\n    m = 0.9 * m + g + c * w\n    return lr * m, m\n",
            None,
        ),
        ("def train(w, g, lr, c=0.1):\n    return lr * sign(g + c * w)\n", None),
        ("def train(w, g, lr, c=0.1):\n    return lr * (g - c * w)\n", None),
        # by its name, though the update is scaled by a norm of it
        (
            "def train(w, g, lr, wd=0.1):\n    u = g + wd * w\n    return lr * u / norm(u)\n",
            "wd",
        ),
        # dead
        (
            "def train(w, g, lr, weight_decay=0.1):\n    d = weight_decay * w\n    return lr * g\n",
            None,
        ),
        ("def train(g, lr):\n    return lr * g\n", None),
    ],
)
def test_found_by_name_or_by_what_it_does(text: str, name: str | None) -> None:
    assert decay_name(program(text)) == name


def test_adding_a_decay_subtracts_a_share_of_the_weights() -> None:
    plain = load(find_source("powersign"))
    decayed = with_decay(plain)
    assert decay_name(decayed) == "weight_decay"
    random = np.random.default_rng(0)
    weights, gradients = [random.normal(size=(3, 2))], [random.normal(size=(3, 2))]
    before = reference_step(plain, weights, gradients, None, 0.1)
    same = reference_step(decayed, weights, gradients, None, 0.1)
    more = reference_step(decayed, weights, gradients, None, 0.1, 1, {"weight_decay": 2.0})
    np.testing.assert_array_equal(same.update[0], before.update[0])
    np.testing.assert_allclose(more.update[0] - before.update[0], 0.1 * 2.0 * weights[0])
    assert load(Source("printed.opt", print_program(decayed))) == decayed


def test_a_program_with_a_decay_stays_as_it_is() -> None:
    lion = load(find_source("lion"))
    assert with_decay(lion) is lion


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("def train(g):\n    return 0.1 * g\n", "takes no `lr`"),
        (
            "def train(g, weight_decay, lr):\n    return lr * (g + weight_decay), g\n",
            "is something else",
        ),
    ],
)
def test_a_program_that_can_get_none(text: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        with_decay(program(text))

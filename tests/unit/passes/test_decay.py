"""Kinds of weight decay."""

import pytest

from optdsl.frontend import find_source, load
from optdsl.passes.decay import Decay, weight_decay


@pytest.mark.parametrize(
    ("kind", "names"),
    [
        (Decay.NONE, "sgd adam momentum signum yogi"),
        (Decay.DECOUPLED, "lion adamw nadamw adamaxw lamb adan"),
        (Decay.COUPLED, "lars cocob adadelta madgrad novograd schedule_free_sgd"),
        (Decay.OTHER, "dog dowg"),
    ],
)
def test_of_known_optimizers(kind: Decay, names: str) -> None:
    assert {name: weight_decay(load(find_source(name))) for name in names.split()} == (
        dict.fromkeys(names.split(), kind)
    )

"""torch.compile takes the step of emitted optimizers as one graph that computes the same.

In double precision, where torch.compile loses what is written to tensors without dimensions.
"""

import importlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from optdsl.backends.torch_emit import emit_torch_source, torch_class_name
from optdsl.frontend import find_source, load

torch = pytest.importorskip("torch")

PROGRAMS = ["adamw", "cautious_lion", "dog", "novograd", "prodigy", "schedule_free_adamw",
            "shampoo", "sm3"]  # fmt: skip
"""With steps counted for each parameter and for each group, all kinds of states, and all ways of
updating."""


def numbers(optimizer: Any, params: list[Any]) -> list[Any]:
    states = [*(optimizer.state[w] for w in params), *optimizer.param_groups]
    stored = [x for state in states for x in state.values() if isinstance(x, torch.Tensor)]
    return [*(w.detach() for w in params), *stored]


@pytest.mark.parametrize("name", PROGRAMS)
def test_compiled_it_computes_the_same(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / f"compiled_{name}.py").write_text(emit_torch_source(load(find_source(name)), name))
    monkeypatch.syspath_prepend(tmp_path)
    make = getattr(importlib.import_module(f"compiled_{name}"), torch_class_name(name))
    found: list[list[Any]] = []
    for compiled in (False, True):
        torch.compiler.reset()
        random = np.random.RandomState(0)
        params = [
            torch.nn.Parameter(torch.tensor(random.standard_normal(shape)))
            for shape in ((3,), (2, 4), (2, 1, 3))
        ]
        optimizer = make(params, lr=0.01)
        step = torch.compile(optimizer.step, backend="aot_eager", fullgraph=True)
        for i in range(4):
            for w in params:
                w.grad = torch.tensor(random.standard_normal(w.shape))
            (step if compiled and i else optimizer.step)()
        found.append(numbers(optimizer, params))
    for compiled, eager in zip(*found, strict=True):
        torch.testing.assert_close(compiled, eager, rtol=1e-10, atol=1e-12)

"""`optdsl certify`, and `compile --target torch`."""

import importlib.util
import json
from itertools import product

import pytest

from optdsl.cli import certify

needs_torch = pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="no torch")


@needs_torch
def test_a_certificate(cli, tmp_path) -> None:
    out = tmp_path / "adamw.json"
    result = cli("certify", "adamw", "--steps", 8, "--seeds", 2, "--json", "-o", out)
    assert result.code == 0, result.err
    found = result.json
    assert json.loads(out.read_text()) == found
    assert found["agreed"]
    assert found["program"] == "adamw"
    assert set(found["versions"]) == {"optdsl", "jax", "jaxlib", "optax", "numpy", "torch"}
    assert (found["steps"], found["seeds"]) == (8, [0, 1])
    runs = [(d["dtype"], d["seed"], d["foreach"], d["steps"]) for d in found["differences"]]
    ways = product(("float32", "float64"), (0, 1), (False, True))
    assert runs == [(*each, 8) for each in ways]
    for each in found["differences"]:
        assert each["largest"] <= found["tolerances"][each["dtype"]]
        assert 0.01 < each["moved"] < 1


@needs_torch
@pytest.mark.parametrize(
    ("right", "other", "foreach"),
    [("w.sub_(lr", "w.sub_(1.0001 * lr", False), ("alpha=lr", "alpha=1.0001 * lr", True)],
)
def test_a_difference_is_found(cli, monkeypatch, right: str, other: str, foreach: bool) -> None:
    from optdsl.backends import torch_certificate
    from optdsl.backends.torch_emit import emit_torch_source

    def wrong(program, name: str) -> str:
        source = emit_torch_source(program, name)
        assert right in source
        return source.replace(right, other)

    monkeypatch.setattr(torch_certificate, "emit_torch_source", wrong)
    result = cli("certify", "sgd", "--steps", 2)
    assert (result.code, result.out) == (1, "")
    assert result.err.endswith("\nnot agreed\n")
    way = ", foreach" * foreach
    assert f"float64, seed 0{way}: largest relative difference" in result.err
    found = cli("certify", "sgd", "--steps", 2, "--json").json["differences"]
    assert {each["foreach"] for each in found if each["largest"] > 1e-6} == {foreach}


def test_without_torch(cli, monkeypatch) -> None:
    monkeypatch.setattr(certify, "find_spec", lambda name: None)
    result = cli("certify", "lion")
    assert (result.code, result.out) == (2, "")
    assert result.err == "optdsl: certify needs PyTorch: pip install 'optdsl[torch]'\n"


@needs_torch
def test_several_programs(cli, tmp_path) -> None:
    result = cli("certify", "sgd", "lion", "--steps", 2, "-o", tmp_path / "found")
    assert (result.code, result.out) == (0, "")
    assert result.err.startswith("sgd: agreed, float32 ")
    files = {path.name: path.read_text() for path in (tmp_path / "found").iterdir()}
    table = files.pop("table.md").splitlines()
    assert table[0] == "| program | float32 | float64 |"
    assert [line.split()[1] for line in table[2:]] == ["sgd", "lion"]
    found = {name: json.loads(text) for name, text in files.items()}
    assert {name: each["agreed"] for name, each in found.items()} == {
        "sgd.json": True, "lion.json": True
    }  # fmt: skip
    result = cli("certify", "sgd", "lion", "--steps", 2, "--json")
    assert result.json == [found["sgd.json"], found["lion.json"]]


def test_bad_arguments(cli) -> None:
    twice = ("lion", "lion")
    for args in (("lion", "--steps", 0), ("lion", "--seeds", 0), ("no_such_program",), (), twice):
        result = cli("certify", *args)
        assert (result.code, result.out) == (2, "")


def test_the_torch_target_needs_torch_alone(cli) -> None:
    result = cli("compile", "lion", "--target", "torch")
    assert (result.code, result.err) == (0, "")
    lines = [line.split() for line in result.out.splitlines()]
    imports = [words[1] for words in lines if words and words[0] in ("import", "from")]
    assert imports == ["torch", "torch.optim.optimizer"]

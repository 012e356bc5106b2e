"""The documentation says what is so: its examples run, its transcripts are what is printed."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

import optdsl
from optdsl.cli import main
from optdsl.tasks import find_task

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
LANGUAGE = (ROOT / "docs" / "language.md").read_text(encoding="utf-8")


def run(capsys: pytest.CaptureFixture[str], *args: str) -> str:
    """What `optdsl` prints for people."""
    with pytest.raises(SystemExit):
        main.main(list(args))
    return capsys.readouterr().err


def blocks(language: str, page: str = README) -> list[str]:
    found = re.findall(r"^```(\w*)\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    return [text for tag, text in found if tag == language]


def test_the_functions_tables_are_current() -> None:
    done = subprocess.run([sys.executable, ROOT / "docs" / "generate.py", "--check"], check=False)
    assert done.returncode == 0


def test_the_readmes_program_is_lion_with_another_weight_decay() -> None:
    program = optdsl.parse(next(block for block in blocks("") if block.startswith('"""EvoLved')))
    assert program.hyperparameters == {"β1": 0.9, "β2": 0.99, "λ": 0.1}


def test_the_readmes_error_is_what_check_prints(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("my_lion.opt").write_text(
        "def train(w, g, m, lr, beta1=0.9, beta2=0.99):\n"
        "    update = sign(interp(g, m, beta1))\n"
        "    m = interp(g, m, beta3)\n"
        "    return lr * update, m\n"
    )
    shown = run(capsys, "check", "my_lion.opt")
    transcript = next(b for b in blocks("") if b.startswith("$ optdsl check my_lion.opt\n"))
    assert shown.startswith(transcript.partition("\n")[2])


def test_the_readmes_sheet_is_what_inspect_prints(capsys: pytest.CaptureFixture[str]) -> None:
    shown = run(capsys, "inspect", str(ROOT / "examples" / "paper" / "program_8.opt"))
    transcript = next(b for b in blocks("") if b.startswith("$ optdsl inspect"))
    assert shown.startswith(transcript.partition("\n")[2])


def test_the_languages_sheet_is_what_inspect_prints(capsys: pytest.CaptureFixture[str]) -> None:
    transcript = next(b for b in blocks("", LANGUAGE) if b.startswith("$ optdsl inspect shampoo\n"))
    assert run(capsys, "inspect", "shampoo").startswith(transcript.partition("\n")[2])


def test_the_readmes_task_is_the_example_and_loads() -> None:
    example = (ROOT / "examples" / "my_task.py").read_text(encoding="utf-8")
    code = example[example.index("import jax") :].replace("  # fmt: skip", "")
    assert code in blocks("python")
    assert find_task(str(ROOT / "examples" / "my_task.py")).name == "mine"


def test_the_readme_names_every_command() -> None:
    named = set(re.findall(r"`optdsl (\w+)", README)) | {"tasks", "stdlib"}
    assert set(main.COMMANDS) <= named


def test_infer_gives_shapes_and_dtypes_leaf_by_leaf() -> None:
    import jax.numpy as jnp

    program = optdsl.parse("def train(g, v: per_array):\n    n = norm(g)\n    return g / n, n\n")
    weights = {"a": jnp.zeros((2, 3)), "b": jnp.zeros(4, jnp.bfloat16)}
    types = program.infer(weights)
    assert [(leaf.shape, leaf.dtype) for leaf in types["n"].leaves] == [((), "float32")] * 2
    assert [(leaf.shape, leaf.dtype) for leaf in types["t"].leaves] == [
        ((2, 3), "float32"),
        ((4,), "bfloat16"),
    ]

"""Cases that are one file each: a source, `--- COMMAND`, and what the command is to print.

    check/*.opt     `--- check`: the diagnostics, as people see them
    format/*.opt    `--- format`: the text in the one layout
    passes/*.opt    `--- PASS ...`: the program after these passes

The source is `case.opt`. A section `--- file NAME` gives it a neighbour, `--- file NAME x N` one
with N times the text, `--- files f{i}.opt x N` N of them; `--- check NAME` checks a neighbour. In
sources of `check`, `\\xNN` stands for a byte.
`pytest --update-golden` rewrites what follows the command.
"""

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from optdsl.backends.findings import findings
from optdsl.diagnostics import CODES, OptError, Source, render
from optdsl.frontend import find_source, load
from optdsl.ir import Program, print_program, verify
from optdsl.passes.fold import bind, default_values, fold_constants
from optdsl.passes.live import remove_dead_code, remove_dead_state
from optdsl.passes.pipeline import prepare
from optdsl.passes.protect import protect
from optdsl.syntax import format_file, parse_file

HERE = Path(__file__).parent

CASES = sorted(HERE.glob("*/*.opt"))

PASSES: dict[str, Callable[[Program], Program]] = {
    "elaborate": lambda program: program,
    "bind": lambda program: bind(program, default_values(program)),
    "fold_constants": fold_constants,
    "prepare": lambda program: prepare(program, {}),
    "protect": protect,
    "remove_dead_code": remove_dead_code,
    "remove_dead_state": remove_dead_state,
}
"""The passes that a case can name."""

SECTION = re.compile(r"^--- (.*)\n", re.MULTILINE)


def as_bytes(text: str) -> bytes:
    """A source, its `\\xNN` turned into bytes."""
    return re.sub(rb"\\x(\w\w)", lambda m: bytes.fromhex(m[1].decode()), text.encode())


def check(source: str, files: list[tuple[str, str]], names: list[str]) -> str:
    """All diagnostics; the files are written to the working directory."""
    Path("case.opt").write_bytes(as_bytes(source))
    for title, text in files:
        word, _, rest = title.partition(" ")
        name, _, times = rest.partition(" x ")
        count = int(times or 1)
        if word == "file":
            Path(name).write_bytes(as_bytes(text) * count)
        else:
            for i in range(1, count + 1):
                Path(name.format(i=i)).write_text(text.format(i=i, next=i + 1), encoding="utf-8")
    shown: list[str] = []
    for name in names or ["case.opt"]:
        try:
            found = findings(find_source(name))
        except OptError as error:
            found = error.diagnostics
        shown += [render(diagnostic) + "\n" for diagnostic in found]
    return "\n".join(shown)


def formatted(source: str) -> str:
    parsed = parse_file(Source("case.opt", source))
    assert parsed.file is not None
    assert not parsed.diagnostics
    return format_file(parsed.file)


def passed(source: str, names: list[str]) -> str:
    program = load(Source("case.opt", source))
    for name in names:
        program = verify(PASSES[name](program))
    return print_program(program)


@pytest.mark.parametrize("path", CASES, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_case(
    path: Path, update_golden: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = path.read_text(encoding="utf-8")
    source, *sections = SECTION.split(text)
    *files, command, expected = sections
    pairs = list(zip(files[::2], files[1::2], strict=True))
    monkeypatch.chdir(tmp_path)
    match path.parent.name, command.split():
        case "check", ["check", *names]:
            actual = check(source, pairs, names)
        case "format", ["format"]:
            actual = formatted(source)
            assert formatted(actual) == actual
        case "passes", names:
            actual = passed(source, names)
        case _:
            raise AssertionError(f"no command {command!r}")
    if update_golden:
        path.write_text(text.removesuffix(expected) + actual, encoding="utf-8")
    else:
        assert actual == expected


@pytest.mark.parametrize("code", CODES)
def test_every_code_has_a_case_that_is_named_after_it(code: str) -> None:
    paths = list((HERE / "check").glob(f"{code}_*.opt"))
    assert paths
    assert all(f"[{code}]" in path.read_text(encoding="utf-8") for path in paths)


def test_cases_are_short() -> None:
    lines = {path.name: path.read_text(encoding="utf-8").count("\n") for path in CASES}
    assert {name: count for name, count in lines.items() if count > 45} == {}


def test_rewriting_is_refused_in_continuous_integration() -> None:
    command = [sys.executable, "-m", "pytest", "-n", "0", "--update-golden", "--collect-only"]
    done = subprocess.run(
        [*command, str(HERE)],
        env=os.environ | {"CI": "true"},
        cwd=HERE.parents[1],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == pytest.ExitCode.USAGE_ERROR
    assert "refused where CI=true" in done.stderr

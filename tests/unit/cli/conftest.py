"""Running `optdsl` inside of this process, and in one of its own."""

import io
import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import pytest

from optdsl.cli import main

PAPER = Path(__file__).parents[3] / "examples" / "paper"


@dataclass(frozen=True)
class Outcome:
    """What a command left behind."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """Standard output, which must be one line of JSON without NaN, and nothing else."""
        assert self.out.count("\n") == 1, self.out
        return json.loads(self.out, parse_constant=_refuse)


class Cli(Protocol):
    def __call__(self, *args: object, stdin: str | bytes = b"") -> Outcome: ...


def _refuse(constant: str) -> Any:
    raise AssertionError(f"{constant} is no JSON")


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Cli:
    """`optdsl ARGS` inside of this process."""

    def run(*args: object, stdin: str | bytes = b"") -> Outcome:
        data = stdin.encode() if isinstance(stdin, str) else stdin
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data), encoding="utf-8"))
        capsys.readouterr()
        with pytest.raises(SystemExit) as exit_:
            main.main([str(arg) for arg in args])
        out, err = capsys.readouterr()
        code = exit_.value.code
        assert code is None or isinstance(code, int), code
        return Outcome(code or 0, out, err)

    return run


@pytest.fixture
def process() -> Callable[..., subprocess.CompletedProcess[str]]:
    """`optdsl ARGS` in a process of its own."""

    def run(*args: object, **options: Any) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", "from optdsl.cli.main import main; main()"]
        options.setdefault("env", {**os.environ, "PYTHONUTF8": "1"})
        return subprocess.run(
            [*command, *(str(arg) for arg in args)],
            capture_output=True,
            encoding="utf-8",
            check=False,
            timeout=120,
            **options,
        )

    return run


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str, str], Path]:
    """Write a file into the test's folder."""

    def file(name: str, text: str) -> Path:
        path = tmp_path / name
        path.write_text(text, encoding="utf-8")
        return path

    return file


@pytest.fixture(scope="session")
def paper() -> Path:
    """The folder of the paper's programs."""
    return PAPER

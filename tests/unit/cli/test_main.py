"""What all commands share: finding them, exit codes, streams, colours, interrupts, pipes."""

import os
import pty
import signal
import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import click
import pytest

from optdsl.cli import main

LION = "def train(g, m, lr):\n    m = interp(g, m, 0.9)\n    return lr * sign(m), m\n"
BROKEN = "def train(g, lr):\n    return lr * h\n"

WITH_A_FILE = ("check", "fmt", "inspect", "compile")
"""Commands that need no more than one program."""


def test_help_names_every_command(cli) -> None:
    for flag in ("--help", "-h"):
        result = cli(flag)
        assert result.code == 0
        assert all(f"  {name} " in result.out for name in main.COMMANDS)


@pytest.mark.parametrize("name", main.COMMANDS)
def test_each_command_explains_itself(cli, name: str) -> None:
    result = cli(name, "--help")
    assert result.code == 0
    assert result.out.startswith(f"Usage: optdsl {name}")


@pytest.mark.parametrize("name", main.COMMANDS)
def test_an_unknown_option_is_a_usage_error(cli, name: str) -> None:
    result = cli(name, "--no-such-option")
    assert result.code == 2
    assert not result.out
    assert "--no-such-option" in result.err


def test_the_version(cli) -> None:
    assert version("optdsl") in cli("--version").out


def test_an_unknown_command_is_a_usage_error_with_a_suggestion(cli) -> None:
    result = cli("chekc", "lion")
    assert (result.code, result.out) == (2, "")
    assert "no command `chekc`; did you mean `check`?" in result.err


def test_no_command_shows_help_and_is_a_usage_error(cli) -> None:
    result = cli()
    assert result.code == 2
    assert "Commands:" in result.err + result.out


@pytest.mark.parametrize("args", [["check"], ["fmt"], ["inspect"], ["equal", "lion"], ["compile"],
                                  ["train", "lion"], ["train", "--task", "quadratic"],
                                  ["inspect", "lion", "adamw"]])  # fmt: skip
def test_too_few_or_too_many_arguments_are_a_usage_error(cli, args: list[str]) -> None:
    result = cli(*args)
    assert (result.code, result.out) == (2, "")
    assert result.err


@pytest.mark.parametrize("name", WITH_A_FILE)
def test_a_file_that_is_not_there_is_a_usage_error(cli, name: str, tmp_path: Path) -> None:
    result = cli(name, tmp_path / "lionn.opt")
    assert (result.code, result.out) == (2, "")
    assert "error[E001]" in result.err
    assert "did you mean `lion`?" in result.err


@pytest.mark.parametrize("name", WITH_A_FILE)
def test_a_folder_is_no_file(cli, name: str, tmp_path: Path) -> None:
    result = cli(name, tmp_path)
    assert (result.code, result.out) == (2, "")
    assert "is a directory" in result.err


@pytest.mark.parametrize("name", ["check", "inspect", "compile"])
def test_a_program_with_errors_is_a_finding(cli, name: str, write) -> None:
    result = cli(name, write("broken.opt", BROKEN))
    assert (result.code, result.out) == (1, "")
    assert "error[E101]: unknown name `h`" in result.err


@pytest.mark.parametrize("name", WITH_A_FILE)
def test_a_dash_is_standard_input(cli, name: str) -> None:
    assert cli(name, "-", stdin=LION).code == 0
    result = cli(name, "-", stdin="def train(g:\n")
    assert (result.code, result.out) == (1, "")
    assert "<stdin>:1:" in result.err


def test_a_file_wins_over_a_program_of_the_standard_library(
    cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    from_stdlib = cli("inspect", "lion", "--json").json
    Path("lion").write_text("def train(g, lr):\n    return lr * g\n")
    assert cli("inspect", "lion", "--json").json["statements"] == 0
    Path("lion").unlink()
    Path("lion").mkdir()  # a folder of that name is in nobody's way
    assert cli("inspect", "lion", "--json").json == from_stdlib


def test_too_large_a_file_and_bytes_that_are_no_text(cli, tmp_path: Path) -> None:
    large, binary = tmp_path / "large.opt", tmp_path / "binary.opt"
    large.write_bytes(b"# " + b"x" * (256 * 1024))
    binary.write_bytes(b"# ok\n#\xff\n")
    result = cli("check", large, binary, "--json")
    assert result.code == 1
    assert [(d["code"], d["line"], d["column"]) for d in result.json] == [
        ("E002", 1, 1),
        ("E003", 2, 2),
    ]


def test_an_interrupt_exits_with_130(cli, monkeypatch: pytest.MonkeyPatch) -> None:
    for exception in (KeyboardInterrupt, click.Abort):

        @click.command("check")
        def command(exception: type[BaseException] = exception) -> None:
            raise exception

        monkeypatch.setattr("optdsl.cli.check.command", command)
        result = cli("check")
        assert (result.code, result.out) == (130, "")
        assert result.err.strip() == "optdsl: interrupted"


@pytest.mark.skipif(not hasattr(signal, "SIGPIPE"), reason="no SIGPIPE here")
@pytest.mark.parametrize("args", [["stdlib", "--json"], ["check", "--explain", "E101"]])
def test_a_reader_that_went_away_is_no_finding(args: list[str]) -> None:
    """As for other programs: killed by SIGPIPE, so that `| head` shows nothing odd."""
    reader, writer = os.pipe()
    os.close(reader)
    command = [sys.executable, "-c", "from optdsl.cli.main import main; main()", *args]
    try:
        done = subprocess.run(
            command, stdout=writer, stderr=subprocess.PIPE, check=False, timeout=60
        )
    finally:
        os.close(writer)
    assert done.stderr == b""
    assert done.returncode == 128 + signal.SIGPIPE


def _on_a_terminal(environment: dict[str, str], *args: object) -> bytes:
    """What a command writes to stderr where this is a terminal."""
    parent, child = pty.openpty()
    command = [sys.executable, "-c", "from optdsl.cli.main import main; main()"]
    subprocess.run(
        [*command, *map(str, args)],
        stderr=child,
        stdout=subprocess.DEVNULL,
        env=environment,
        check=False,
        timeout=60,
    )
    os.close(child)
    written = b""
    try:
        while chunk := os.read(parent, 1 << 16):
            written += chunk
    except OSError:  # on Linux: the end
        pass
    os.close(parent)
    return written


def test_colours_on_a_terminal_unless_no_color_is_set(write) -> None:
    broken = write("broken.opt", BROKEN)
    plain = {k: v for k, v in os.environ.items() if k != "NO_COLOR"} | {"TERM": "xterm"}
    coloured = _on_a_terminal(plain, "check", broken)
    assert b"\x1b[31m" in coloured
    uncoloured = _on_a_terminal(plain | {"NO_COLOR": "1"}, "check", broken)
    assert b"\x1b" not in uncoloured
    assert b"E101" in uncoloured


def test_no_colours_where_stderr_is_no_terminal(
    process: Callable[..., subprocess.CompletedProcess[str]], write
) -> None:
    done = process("check", write("broken.opt", BROKEN))
    assert done.returncode == 1
    assert "\x1b" not in done.stderr


def test_names_that_are_no_text_are_reported_not_stumbled_over(
    process: Callable[..., subprocess.CompletedProcess[str]],
) -> None:
    strict = {**os.environ, "PYTHONUTF8": "1", "PYTHONIOENCODING": "utf-8:strict"}
    done = process("check", "\udcff.opt", "--json", env=strict)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr


def test_after_an_interrupt_nothing_is_torn_down() -> None:
    """What other threads still do can't crash the process, nor change its exit code."""
    code = (
        "import atexit, os\n"
        "from optdsl.cli import main as module\n"
        "atexit.register(os.abort)\n"
        "def interrupted():\n"
        "    print('said', flush=False)\n"
        "    raise SystemExit(module.INTERRUPTED)\n"
        "module.main = interrupted\n"
        "module.entry()\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (130, "said\n")


def test_other_ends_are_left_alone() -> None:
    code = (
        "import sys; sys.argv = ['optdsl', 'check', 'lion']\n"
        "from optdsl.cli.main import entry; entry()\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "")

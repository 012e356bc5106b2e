"""`optdsl fmt`: in place, whole or not at all."""

import os
import stat
from pathlib import Path

import pytest

UGLY = "def train( g,lr ):   # a comment\n\n\n    return   lr*g\n"
NEAT = "def train(g, lr):  # a comment\n    return lr * g\n"
BROKEN = "def train(g, lr):\n    return lr * (g\n"


def test_in_place(cli, write) -> None:
    file = write("ugly.opt", UGLY)
    result = cli("fmt", file)
    assert (result.code, result.out) == (0, "")
    assert result.err == f"reformatted {file}\n"
    assert file.read_text() == NEAT
    before = file.stat()
    result = cli("fmt", file)
    assert (result.code, result.out, result.err) == (0, "", "")
    after = file.stat()
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


def test_check_changes_nothing(cli, write) -> None:
    file, neat = write("ugly.opt", UGLY), write("neat.opt", NEAT)
    result = cli("fmt", "--check", file, neat)
    assert (result.code, result.out) == (1, "")
    assert result.err == f"would reformat {file}\n"
    assert file.read_text() == UGLY
    assert cli("fmt", "--check", neat).code == 0


def test_diff_changes_nothing_and_prints_a_patch(cli, write) -> None:
    file, neat = write("ugly.opt", UGLY), write("neat.opt", NEAT)
    for flags in (["--diff"], ["--diff", "--check"]):
        result = cli("fmt", *flags, file, neat)
        assert result.code == 1
        assert result.out.splitlines()[:3] == [
            f"--- {file}",
            f"+++ {file} (new)",
            "@@ -1,4 +1,2 @@",
        ]
        assert file.read_text() == UGLY
    result = cli("fmt", "--diff", neat)
    assert (result.code, result.out) == (0, "")


def test_a_diff_of_a_file_without_a_last_line_end_has_its_lines_apart(cli, write) -> None:
    result = cli("fmt", "--diff", write("open.opt", "def train(g, lr):\n    return lr*g"))
    assert result.code == 1
    lines = result.out.splitlines()
    assert "-    return lr*g" in lines
    assert "+    return lr * g" in lines


def test_standard_input_goes_to_standard_output(cli) -> None:
    result = cli("fmt", "-", stdin=UGLY)
    assert (result.code, result.out, result.err) == (0, NEAT, "")
    assert cli("fmt", "-", stdin=NEAT).out == NEAT
    result = cli("fmt", "-", "--check", stdin=UGLY)
    assert (result.code, result.out) == (1, "")
    result = cli("fmt", "-", "--diff", stdin=UGLY)
    assert result.code == 1
    assert result.out.startswith("--- <stdin>\n")
    assert cli("fmt", "-", "--check", stdin=NEAT).code == 0


def test_a_program_with_syntax_errors_is_left_alone(cli, write) -> None:
    broken, ugly = write("broken.opt", BROKEN), write("ugly.opt", UGLY)
    result = cli("fmt", broken, ugly)
    assert (result.code, result.out) == (1, "")
    assert "error[E005]" in result.err
    assert broken.read_text() == BROKEN
    assert ugly.read_text() == NEAT, "the others are formatted all the same"
    result = cli("fmt", "-", stdin=BROKEN)
    assert (result.code, result.out) == (1, "")


def test_only_syntax_matters(cli, write) -> None:
    file = write("unknown.opt", "def train(g):\n    return  h\n")
    assert cli("fmt", file).code == 0
    assert file.read_text() == "def train(g):\n    return h\n"


def test_the_mode_is_kept(cli, write) -> None:
    for mode in (0o600, 0o644, 0o755, 0o664):
        file = write("ugly.opt", UGLY)
        file.chmod(mode)
        assert cli("fmt", file).code == 0
        assert stat.S_IMODE(file.stat().st_mode) == mode


def test_a_link_stays_a_link(cli, write, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    file = write("elsewhere/ugly.opt", UGLY)
    link, chain = tmp_path / "link.opt", tmp_path / "chain.opt"
    link.symlink_to("elsewhere/ugly.opt")
    chain.symlink_to(link)
    assert cli("fmt", chain).code == 0
    assert chain.readlink() == link
    assert link.readlink() == Path("elsewhere/ugly.opt")
    assert file.read_text() == NEAT
    assert sorted(p.name for p in tmp_path.rglob("*")) == [
        "chain.opt",
        "elsewhere",
        "link.opt",
        "ugly.opt",
    ]


@pytest.mark.parametrize("failing", ["write", "rename"])
def test_nothing_is_lost_where_writing_fails(
    cli, write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: str
) -> None:
    file = write("ugly.opt", UGLY)

    def full(*args: object, **kwargs: object) -> None:
        raise OSError(28, "No space left on device")

    if failing == "write":
        original = Path.write_text

        def half(self: Path, text: str, **options: object) -> None:
            original(self, text[: len(text) // 2], encoding="utf-8")
            full()

        monkeypatch.setattr(Path, "write_text", half)
    else:
        monkeypatch.setattr(os, "replace", full)
    result = cli("fmt", file)
    assert (result.code, result.out) == (2, "")
    assert result.err == f"optdsl: can't write {file}: No space left on device\n"
    assert file.read_text() == UGLY
    assert [path.name for path in tmp_path.iterdir()] == ["ugly.opt"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_can_not_be_written_to(cli, write, tmp_path: Path) -> None:
    file = write("ugly.opt", UGLY)
    tmp_path.chmod(0o500)
    try:
        result = cli("fmt", file)
        assert result.code == 2
        assert file.read_text() == UGLY
    finally:
        tmp_path.chmod(0o700)


def test_line_ends_and_a_byte_order_mark(cli, tmp_path: Path) -> None:
    file = tmp_path / "dos.opt"
    file.write_bytes(b"\xef\xbb\xbf" + UGLY.replace("\n", "\r\n").encode())
    assert cli("fmt", file).code == 0
    assert file.read_bytes() == NEAT.encode()


def test_a_missing_file_is_a_usage_error_and_stops_nothing(cli, write, tmp_path: Path) -> None:
    file = write("ugly.opt", UGLY)
    result = cli("fmt", tmp_path / "missing.opt", file)
    assert (result.code, result.out) == (2, "")
    assert "E001" in result.err
    assert file.read_text() == NEAT


def test_what_is_shipped_is_formatted(cli, paper: Path) -> None:
    files = [entry["file"] for entry in cli("stdlib", "--json").json]
    result = cli("fmt", "--check", *files, *sorted(paper.glob("*.opt")))
    assert (result.code, result.err) == (0, "")

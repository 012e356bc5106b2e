"""Imports between files: what is found, what is refused, and that each file is read once."""

from pathlib import Path

import pytest

from optdsl.diagnostics import Diagnostic, Source
from optdsl.frontend import elaborate, helpers, read_source

TRAIN = "def train(g, lr):\n    return lr * half(g)\n"
HALF = "def half(x):\n    return x / 2\n"


def check(path: Path) -> tuple[Diagnostic, ...]:
    return elaborate(read_source(path)).diagnostics


def test_a_neighbour_comes_before_the_standard_library(tmp_path: Path) -> None:
    (tmp_path / "lion.opt").write_text(HALF)
    (tmp_path / "main.opt").write_text(f"from lion import half\n{TRAIN}")
    assert check(tmp_path / "main.opt") == ()


def test_no_link_leads_out_of_the_folder(tmp_path: Path) -> None:
    (tmp_path / "secret.opt").write_text(HALF)
    folder = tmp_path / "inside"
    folder.mkdir()
    (folder / "secret.opt").symlink_to(tmp_path / "secret.opt")
    (folder / "main.opt").write_text(f"from secret import half\n{TRAIN}")
    assert [d.code for d in check(folder / "main.opt")] == ["E501"]


@pytest.mark.parametrize("name", ["x" * 300, "x" * 5_000, "λ" * 200])
def test_a_name_that_no_file_can_have(tmp_path: Path, name: str) -> None:
    (tmp_path / "main.opt").write_text(f"from {name} import half\n{TRAIN}")
    assert [d.code for d in check(tmp_path / "main.opt")] == ["E501"]


def test_a_file_is_read_once_however_often_it_is_imported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else there would be 3 ** 10 readings."""
    read: list[Path] = []

    def counted(path: Path) -> Source:
        read.append(path)
        return read_source(path)

    monkeypatch.setattr(helpers, "read_source", counted)
    for i in range(10):
        imports = f"from f{i + 1} import missing\n" * 3
        (tmp_path / f"f{i}.opt").write_text(f"{imports}{HALF}")
    (tmp_path / "f10.opt").write_text(HALF)
    (tmp_path / "main.opt").write_text(f"from f0 import half\n{TRAIN}")
    assert [d.code for d in check(tmp_path / "main.opt")] == ["E504"]
    assert len(read) == len(set(read)) == 11


def test_what_an_imported_helper_calls_is_its_own_files(tmp_path: Path) -> None:
    (tmp_path / "other.opt").write_text(
        "def scale(x):\n    return 2 * x\ndef half(x):\n    return scale(x) / 4\n"
    )
    (tmp_path / "main.opt").write_text(
        f"from other import half\ndef scale(x, y):\n    return x * y\n{TRAIN}"
    )
    assert check(tmp_path / "main.opt") == ()

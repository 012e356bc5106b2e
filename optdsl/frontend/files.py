"""Finding and reading `.opt` files: paths, the standard library, neighbours."""

import sys
from functools import cache
from pathlib import Path

from optdsl.diagnostics import Diagnostic, OptError, Source, Span, did_you_mean, nearest
from optdsl.resources import resource

MAX_BYTES = 256 * 1024
"""The largest file that is read."""

SUFFIX = ".opt"


@cache
def stdlib() -> dict[str, Path]:
    """The programs of the standard library by name."""
    return {path.stem: path for path in sorted(resource("stdlib").glob(f"*{SUFFIX}"))}


def find_source(name: str) -> Source:
    """The text of a path, of a program of the standard library, or of standard input (`-`).

    Raises:
        OptError: E001, E002 or E003.
    """
    if name == "-":
        return source_from_bytes("<stdin>", sys.stdin.buffer.read(MAX_BYTES + 1))
    path = Path(name)
    if name in stdlib() and not exists(path):
        path = stdlib()[name]
    return read_source(path)


def read_source(path: Path) -> Source:
    """The text of a file.

    Raises:
        OptError: E001, E002 or E003.
    """
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except (OSError, ValueError) as error:
        raise OptError([_unreadable(str(path), error)]) from None
    return source_from_bytes(str(path), data)


def source_from_bytes(name: str, data: bytes) -> Source:
    """Decode a text.

    Raises:
        OptError: E002 for more than MAX_BYTES, E003 for invalid UTF-8.
    """
    if len(data) > MAX_BYTES:
        message = f"the file is larger than {MAX_BYTES // 1024} KiB"
        raise OptError([_whole_file(name, "E002", message, "split it, or shorten it")])
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        before = data[: error.start].decode("utf-8")
        line = before.count("\n") + 1
        column = len(before) - (before.rfind("\n") + 1) + 1
        source = Source(name, data.decode("utf-8", errors="replace"))
        diagnostic = Diagnostic(
            "E003",
            f"the byte 0x{data[error.start]:02X} is not valid UTF-8",
            Span(source, line, column, line, column + 1),
            help="save the file as UTF-8",
        )
        raise OptError([diagnostic]) from None
    return Source(name, text.removeprefix("\ufeff"))


def _unreadable(name: str, error: OSError | ValueError) -> Diagnostic:
    reason = error.strerror if isinstance(error, OSError) else str(error)
    near = nearest(Path(name).name.removesuffix(SUFFIX), stdlib())
    help = did_you_mean(near) or "give a path, or a name from `optdsl stdlib`"
    return _whole_file(name, "E001", f"can't read `{name}`: {(reason or 'error').lower()}", help)


def _whole_file(name: str, code: str, message: str, help: str) -> Diagnostic:
    return Diagnostic(code, message, Span(Source(name, ""), 1, 1, 1, 1), help=help)


def exists(path: Path) -> bool:
    """Whether a path names a file, whatever it is made of."""
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False

"""Writing files so that none is ever half written."""

import os
from pathlib import Path


def write_text(path: Path, text: str) -> None:
    """Write a file whole or not at all; a link keeps pointing to it, and it keeps its mode.

    Raises:
        OSError: if it can't be written; what was there is still there.
    """
    target = path.resolve()
    partial = target.with_name(f".{target.name}.{os.getpid()}.partial")
    try:
        partial.write_text(text, encoding="utf-8")
        if target.exists():
            partial.chmod(target.stat().st_mode)
        os.replace(partial, target)
    finally:
        partial.unlink(missing_ok=True)

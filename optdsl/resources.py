"""Where the grammar and the standard library lie: inside the wheel, or beside the package."""

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent


def resource(name: str) -> Path:
    """The folder `grammar` or `stdlib`: in `_data` when installed, else in the checkout."""
    installed = _PACKAGE / "_data" / name
    return installed if installed.is_dir() else _PACKAGE.parent / name


def search_start() -> Path:
    """The program that a search starts from where the user gives none."""
    return _PACKAGE / "evolve" / "adamw.opt"

"""Writes the parts of the documentation that are made from the code.

python docs/generate.py            rewrites docs/language.md
python docs/generate.py --check    exits 1 if it is not current
"""

import sys
from pathlib import Path

from optdsl.ops import FunctionSet, OpDef, functions

PAGE = Path(__file__).parent / "language.md"
BEGIN = "<!-- begin: functions, made by docs/generate.py -->"
END = "<!-- end: functions -->"

TITLES = {
    FunctionSet.PAPER: "The set `paper`: the 43 functions of the paper's appendix H",
    FunctionSet.EXTENDED: "The set `extended`: for people who write optimizers",
}


def tables() -> str:
    """The functions' tables in Markdown."""
    parts: list[str] = []
    for which, title in TITLES.items():
        rows = "\n".join(_row(op) for op in functions(which))
        head = "| written | also | meaning | protected |\n| --- | --- | --- | --- |"
        parts.append(f"### {title}\n\n{head}\n{rows}")
    return "\n\n".join(parts)


def _row(op: OpDef) -> str:
    also = ", ".join(f"`{alias}`" for alias in op.aliases)
    protected = f"`{op.protected}`" if op.protected else ""
    cells = (f"`{op.written(*op.args)}`", also, op.doc.replace("|", "\\|"), protected)
    return f"| {' | '.join(cells)} |"


def updated(page: str) -> str:
    """The page with its functions' tables made anew."""
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n\n{tables()}\n\n{END}{after}"


def main() -> int:
    """The exit code."""
    page = PAGE.read_text(encoding="utf-8")
    if "--check" in sys.argv[1:]:
        current = page == updated(page)
        if not current:
            print("docs/language.md is not current: run python docs/generate.py", file=sys.stderr)
        return 0 if current else 1
    PAGE.write_text(updated(page), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())

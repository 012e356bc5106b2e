"""Liveness as the author sees it: of the source's statements."""

from pathlib import Path

import pytest

from optdsl.diagnostics import Source
from optdsl.frontend import elaborate, find_source
from optdsl.passes.statements import live_statements

PAPER = Path(__file__).parents[3] / "examples" / "paper"


def dead(text: str) -> list[str]:
    """The statements that are marked with `# dead`, and those that are found dead, must agree."""
    elaborated = elaborate(Source("<test>", text))
    assert elaborated.program is not None, elaborated.diagnostics
    lines = text.splitlines()
    found = live_statements(elaborated)
    assert len(found) == len(elaborated.statements)
    return [
        lines[trace.line - 1].strip()
        for trace, live in zip(elaborated.statements, found, strict=True)
        if not live
    ]


BODIES = {
    "never read": """
        a = cos(g)  # dead
        return g, m, v""",
    "read by a dead one": """
        a = cos(g)  # dead
        b = a + 1  # dead
        return g, m, v""",
    "overwritten before it is read": """
        a = cos(g)  # dead
        a = sin(g)
        return a, m, v""",
    "read before it is overwritten": """
        a = cos(g)
        a = a + 1
        return a, m, v""",
    "a dead state": """
        m = m + g  # dead
        return g, m, v""",
    "a state that only itself reads": """
        m = cos(m)  # dead
        v = sin(m)  # dead
        return g, m, v""",
    "states that only read each other": """
        m = cos(v)  # dead
        v = sin(m)  # dead
        return g, m, v""",
    "a state that is read at the next step": """
        update = g + m
        m = cos(g)
        return update, m, v""",
    "over two steps": """
        update = g + m
        m = cos(v)
        v = sin(g)
        return update, m, v""",
    "a copy that is read": """
        x = m
        y = x
        return g + y, m, v""",
    "a copy that is not read": """
        x = m  # dead
        y = x  # dead
        return g, m, v""",
    "a copy that a dead statement reads": """
        x = m  # dead
        y = cos(x)  # dead
        return g, m, v""",
    "a copy that is returned": """
        x = g
        return x, m, v""",
    "a copy that is returned for a dead state": """
        x = g  # dead
        return g, x, v""",
    "a copy that is returned for a live state": """
        x = g
        return m, x, v""",
    "a constant": """
        x = 0.5
        y = 0.7  # dead
        return x * g, m, v""",
    "copies before and after an overwriting": """
        x = g  # dead
        x = w
        return x, m, v""",
    "a loop": """
        for i in range(3):
            a = cos(g)  # dead
            g = g + i
        return g, m, v""",
    "a loop whose last round matters": """
        for i in range(3):
            x = g + i
        return x, m, v""",
    "a loop that never runs": """
        for i in range(0):
            x = g
        return g, m, v""",
    "a helper": """
        x = half(g)
        y = half(w)  # dead
        return x, m, v""",
    "a helper of several values": """
        x, y = both(g, w)
        return x, m, v""",
    "none of a helper's values": """
        x, y = both(g, w)  # dead
        return g, m, v""",
    "a helper that gives its argument back": """
        x = same(g)
        y = same(w)  # dead
        return x, m, v""",
}

HELPERS = (
    "def half(x):\n    return x / 2\n\n"
    "def both(x, y):\n    return cos(x), sin(y)\n\n"
    "def same(x):\n    return x\n\n"
)


@pytest.mark.parametrize("what", BODIES)
def test_dead_statements(what: str) -> None:
    body = BODIES[what].replace("\n        ", "\n    ")
    text = f"{HELPERS}def train(w, g, m, v):{body}\n"
    marked = [line.strip() for line in text.splitlines() if line.endswith("# dead")]
    assert dead(text) == marked


@pytest.mark.parametrize(
    ("number", "statements", "live"),
    [(1, 6, 6), (3, 9, 9), (4, 12, 11), (5, 12, 12), (6, 11, 11), (7, 10, 10), (8, 21, 12)],
)
def test_the_papers_programs(number: int, statements: int, live: int) -> None:
    found = live_statements(elaborate(find_source(str(PAPER / f"program_{number}.opt"))))
    assert (len(found), sum(found)) == (statements, live)

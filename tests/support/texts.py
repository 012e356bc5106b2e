"""Generated texts: programs with all of the grammar and every layout, and texts that are none.

- `sources()`: valid programs, with comments, blank lines and spaces anywhere.
- `grammatical()`: whatever `opt.lark` derives, with made-up names.
- `damaged()`: a valid program with some characters changed.
- `HOSTILE`: texts meant to break a reader, by name.
"""

import re
from collections.abc import Callable
from random import Random

from hypothesis import strategies as st
from hypothesis.extra.lark import from_lark
from lark import Lark

from optdsl.resources import resource

VARIABLES = ("x", "y", "β1", "x_2", "λ", "abs", "_t")
ANY = st.characters(codec=None)  # type: ignore[arg-type]
"""Any character, surrogates included."""

COMMENT_CHARACTERS = "ab #\"'(:=λ"


# Valid programs


@st.composite
def expressions(
    draw: st.DrawFn, names: tuple[str, ...], helpers: tuple[str, ...] = (), depth: int = 3
) -> str:
    """An expression of arrays and numbers, with more parentheses than it needs."""
    kind = draw(st.integers(0, 9)) if depth else draw(st.integers(0, 1))

    def part() -> str:
        return draw(expressions(names, helpers, depth - 1))

    match kind:
        case 0:
            return draw(st.sampled_from(names))
        case 1:
            return draw(st.sampled_from(("1", "0.5", "1e-8", "2.", ".25", "1_000", "3E+2")))
        case 2:
            return f"-{part()}"
        case 3 | 4 | 5:
            operator = draw(st.sampled_from(("+", "-", "*", "/", "**")))
            left, right = part(), part()
            return f"{left} {operator} {right}"
        case 6:
            return f"({part()})"
        case 7:
            function = draw(st.sampled_from(("sqrt", "tanh", "sign", *helpers[:1])))
            return f"{function}({part()})"
        case 8:
            comparison = draw(st.sampled_from(("<", "<=", ">", ">=", "==", "!=")))
            return f"where({part()} {comparison} {part()}, {part()}, {part()})"
        case _:
            function = draw(st.sampled_from(("maximum", "min", *helpers)))
            return f"{function}({part()}, {part()})"


HELPERS = ("once", "twice")


@st.composite
def plain_sources(draw: st.DrawFn) -> str:
    """A valid program in the standard layout, with helpers, loops and docstrings."""
    lines = ['"""A program."""'] if draw(st.booleans()) else []
    lines += ["def once(x, by=2.0):", "    return by * x"]
    lines += ["def twice(x, y):"]
    lines += ['    """Applies it twice."""'] if draw(st.booleans()) else []
    lines += [
        f"    x = {draw(expressions(('x', 'y'), ('once',)))}",
        "    return once(once(x), 3) + y",
    ]
    lines += ["def both(x):", "    return x, -x"]
    states = draw(st.sampled_from(("", "m, ", "m: bfloat16, ", "m: array[float16], ")))
    lines += [f"def train(w, g, {states}lr, k=0.9, bound=-1e3):"]
    names = ("w", "g", "lr", "k", "bound", *(["m"] if states else []))
    for _ in range(draw(st.integers(1, 5))):
        target = draw(st.sampled_from(VARIABLES))
        match draw(st.integers(0, 4)):
            case 0:
                other = draw(st.sampled_from([v for v in VARIABLES if v != target]))
                lines += [f"    {target}, {other} = both({draw(expressions(names, HELPERS))})"]
                names += (other,)
            case 1:
                lines += [f"    for i in range({draw(st.integers(1, 3))}):"]
                lines += [f"        {target} = {draw(expressions((*names, 'i'), HELPERS))}"]
                lines += [f"        for j in range(2):\n            {target} = {target} * j"]
            case _:
                lines += [f"    {target} = {draw(expressions(names, HELPERS))}"]
        names += (target,)
    returned = f"g * ({draw(expressions(names, HELPERS))})" + (", m" if states else "")
    return "\n".join([*lines, f"    return {returned}", ""])


@st.composite
def sources(draw: st.DrawFn) -> tuple[str, list[str]]:
    """A valid program in some layout, and the comments in it, each with a number of its own."""
    return laid_out(draw(plain_sources()), Random(draw(st.integers(0, 2**16))))


def laid_out(program: str, random: Random) -> tuple[str, list[str]]:
    """A program in the standard layout, in another; and the comments that it now has."""
    comments: list[str] = []

    def comment() -> str:
        text = "".join(random.choices(COMMENT_CHARACTERS, k=random.randrange(8)))
        comments.append(f"# {len(comments)} {text}".rstrip())
        return comments[-1]

    def seldom() -> bool:
        return random.random() < 0.2

    width, end = random.randint(1, 5), random.choice(("\n", "\n", "\r\n"))
    lines: list[str] = []
    for line in program.splitlines():
        indent = " " * (width * ((len(line) - len(line.lstrip())) // 4))
        while seldom():
            lines.append(" " * random.randrange(6) + (comment() if seldom() else ""))
        if seldom():
            lines.append(indent + comment())
        text = line.lstrip()
        if not text.startswith('"""'):
            text = _spaced(text, random, comment)
        lines.append(indent + text + (f"  {comment()}" if seldom() else ""))
    if seldom():
        lines += [comment(), ""]
    return end.join(lines) + random.choice(("", end, end + end)), comments


TOKEN = re.compile(
    r"\d[\d_]*\.?\d*(?:[eE][+-]?\d+)?|\.\d+|\w+|\*\*|[<>=!]=|[-+*/<>=(),:\[\]]|\S", re.UNICODE
)


def _spaced(line: str, random: Random, comment: Callable[[], str]) -> str:
    """The line with other spaces, and inside of parentheses with line ends and comments."""
    out, depth = "", 0
    for token in TOKEN.findall(line):
        depth -= token in ")]"
        word = token[0].isalnum() or token[0] in "_."
        if out and word and (out[-1].isalnum() or out[-1] in "_."):
            out += " "
        if out and random.random() < 0.3:
            out += random.choice((" ", "  ", "\t "))
        if depth and random.random() < 0.05:
            out += f" {comment()}\n " if random.random() < 0.5 else "\n  "
        out += token
        depth += token in "(["
    return out


# Texts by the grammar

INDENT, DEDENT = "\ue000", "\ue001"
"""Stand for the grammar's _INDENT and _DEDENT until `_indented`."""


def grammatical() -> st.SearchStrategy[str]:
    """Any file of the grammar, correctly indented: seldom a meaningful program."""
    text = (resource("grammar") / "opt.lark").read_text(encoding="utf-8")
    text = re.sub(r"^%ignore.*$", "", text, flags=re.MULTILINE)  # spaces and comments come below
    grammar = Lark(text, parser="lalr", lexer="basic", start="file")
    names = ("train", "w", "g", "lr", "m", "x", "range", "sqrt", "interp", "where", "array",
             "bfloat16", "scalar", "step", "abs", "h", "λ", "lambda", "__x", "ﬁ", "adamw",
             "if", "print")  # fmt: skip
    numbers = ("0", "1", "0.5", "1e-8", "1e400", "1e-400", "10", "1__0", "100000", "3.", ".5")
    explicit = {
        "_INDENT": st.just(INDENT),
        "_DEDENT": st.just(DEDENT),
        "_NEWLINE": st.sampled_from(("\n", "\n", "  # why\n", "\r\n\n", "\n   \n")),
        "BROKEN": st.just("x = g"),
        "NAME": st.sampled_from(names).map(lambda name: f" {name} "),
        "NUMBER": st.sampled_from(numbers).map(lambda number: f" {number} "),
        "STRING": st.sampled_from(('"doc"', '"""doc\nof two lines"""', '"""a" """')),
        "FROM": st.just("from "), "IMPORT": st.just(" import "), "DEF": st.just("def "),
        "FOR": st.just("for "), "IN": st.just(" in "), "RETURN": st.just("return "),
    }  # fmt: skip
    return from_lark(grammar, start="file", explicit=explicit).map(_indented)


def _indented(text: str) -> str:
    """The text with its marks turned into indentation."""
    depth, lines = 0, list[str]()
    for line in text.splitlines():
        mark = line.lstrip()[:1]
        while mark in (INDENT, DEDENT) and mark:
            depth += 1 if mark == INDENT else -1
            line = line.lstrip()[1:]
            mark = line.lstrip()[:1]
        lines.append("    " * depth + line.strip(" "))
    return "\n".join(lines).replace(INDENT, "").replace(DEDENT, "") + "\n"


@st.composite
def damaged(draw: st.DrawFn) -> str:
    """A valid program with some pieces deleted, doubled, moved or replaced."""
    text, _ = draw(sources())
    for _ in range(draw(st.integers(1, 4))):
        begin = draw(st.integers(0, len(text)))
        end = min(len(text), begin + draw(st.integers(0, 12)))
        pieces = ("", "", text[begin:end] * 2, *PIECES, draw(st.text(ANY, max_size=3)))
        piece = draw(st.sampled_from(pieces))
        text = text[:begin] + piece + text[end:]
    return text


PIECES = (
    "(", ")", "[", "]", ",", ":", "=", "==", "<", "**", "-", "\n", "\n\n", "\t", "    ", '"', '"""',
    "#", "def ", "return ", "for i in range(3):", "if x:", "x += 1", "w.T", "m[0]", "'", "\\\n",
    ";",
    "from adamw import x", "lambda", "__init__", "0x1F", "1e999", "1.2.3", "@", "\ufdd0", "\u202e",
    "\0", "\r", "\x0c", "é", "e\u0301", "ﬁ", "½", "²", "𝛃", "range(10**9)", "train",
    "where(x, y, w)",
)  # fmt: skip


# Hostile texts

HEAD = "def train(w, g, lr):\n"
TAIL = "    return g\n"


def body(text: str) -> str:
    """A program around some lines."""
    return HEAD + text + TAIL


def deep_helpers(depth: int) -> str:
    """Helpers that call one another, as a chain."""
    chain = [f"def h{i}(x):\n    return h{i - 1}(x) + 1\n" for i in range(1, depth)]
    return "def h0(x):\n    return x\n" + "".join(chain) + body(f"    g = h{depth - 1}(g)\n")


def doubling_helpers(depth: int) -> str:
    """Helpers that call one another twice: 2 ** depth statements."""
    chain = [f"def h{i}(x):\n    return h{i - 1}(h{i - 1}(x))\n" for i in range(1, depth)]
    return "def h0(x):\n    return x * x\n" + "".join(chain) + body(f"    g = h{depth - 1}(g)\n")


def deep_calls_of_helpers(depth: int) -> str:
    """Helpers that call one another, each deep inside of an expression and of loops."""
    loops = "".join(f"{'    ' * i}for i{i} in range(1):\n" for i in range(1, 19))
    lines = f"{loops}{'    ' * 19}x = {'sqrt(' * 80}%s{')' * 80}\n    return x\n"
    chain = [f"def h{i}(x):\n{lines % f'h{i - 1}(x)'}" for i in range(1, depth)]
    return "def h0(x):\n    return x\n" + "".join(chain) + body(f"    g = h{depth - 1}(g)\n")


def nested_loops(depth: int) -> str:
    """Loops in loops: 10 ** depth statements."""
    loops = [f"{'    ' * i}for i{i} in range(10):\n" for i in range(1, depth + 1)]
    return body("".join(loops) + "    " * (depth + 1) + "g = g * g\n")


HOSTILE: dict[str, tuple[str, str]] = {
    "nothing": ("", "E301"),
    "blank lines": ("\n \n\t\n", "E301"),
    "a NUL byte": (body("    x = \0g\n"), "E003"),
    "a NUL byte in a comment": (body("    x = g  # \0\n"), "E003"),
    "a bidirectional override": (body("    x = g  # \u202e)2 * \n"), "E003"),
    "a bidirectional isolate": (body("    \u2066x = g\n"), "E003"),
    "a zero-width space": (body("    x\u200b = g\n"), "E003"),
    "a surrogate": (body("    x\ud800 = g\n"), "E003"),
    "a line separator": (body("    x = g\u2028    y = g\n"), "E003"),
    "a form feed": (body("\f    x = g\n"), "E003"),
    "a bell": (body("    x = g\a\n"), "E003"),
    "a byte order mark inside": (body("    x = g\ufeff\n"), "E003"),
    "the parser's own mark": (body("    \ufdd0\n"), "E003"),
    "a lone carriage return": (body("    x = g\r    y = x\n"), "E003"),
    "a tab for indentation": (HEAD + "\treturn g\n", "E004"),
    "a tab before everything": ("\t" + HEAD + TAIL, "E004"),
    "tabs and spaces": (HEAD + "    x = g\n\ty = g\n" + TAIL, "E004"),
    "spaces, then a tab": (HEAD + "    x = g\n    \ty = g\n" + TAIL, "E004"),
    "a dedent to nowhere": (HEAD + "    x = g\n  y = g\n" + TAIL, "E004"),
    "an indented file": ("    x = g\n", "E004"),
    "an unexpected indent": (body("    x = g\n        y = g\n"), "E004"),
    "a keyword for a name": (body("    lambda = g\n"), "E104"),
    "a keyword for a parameter": ("def train(w, g, class):\n" + TAIL, "E104"),
    "None for a name": (body("    x = None * g\n"), "E104"),
    "a dunder name": (body("    __class__ = g\n"), "E104"),
    "a dunder call": (body("    x = __import__(g)\n"), "E104"),
    "an attribute": (body("    x = g.__class__\n"), "E007"),
    "a call by attribute": (body("    x = (1).real\n"), "E007"),
    "100,000 nested parentheses": (body(f"    x = {'(' * 100_000}g{')' * 100_000}\n"), "E009"),
    "100,000 open parentheses": (body(f"    x = {'(' * 100_000}\n"), "E009"),
    "nested calls": (body(f"    x = {'sqrt(' * 200}g{')' * 200}\n"), "E009"),
    "100 signs too many": (body(f"    x = {'-' * 300}g\n"), "E009"),
    "a long sum": (body(f"    x = {' + '.join(['g'] * 5_000)}\n"), "E009"),
    "a tower of powers": (body(f"    x = {' ** '.join(['g'] * 5_000)}\n"), "E009"),
    "100,000 arguments": (body(f"    x = maximum({', '.join(['g'] * 20_000)})\n"), "E201"),
    "100,000 statements": (body("    g=g*g\n" * 20_000), "E402"),
    "nested loops": (nested_loops(15), "E402"),
    "more nested loops": (nested_loops(700), "E009"),
    "loops over nothing": (body("    for i in range(10000):\n        for j in range(10000):\n"
                                "            for k in range(0):\n                g = g\n"), "E402"),
    "range(10**9)": (body("    for i in range(10**9):\n        g = g * g\n"), "E401"),
    "range(1000000000)": (body("    for i in range(1000000000):\n        g = g * g\n"), "E401"),
    "a huge bound": (body(f"    for i in range({'9' * 10_000}):\n        g = g\n"), "E008"),
    "range(-1)": (body("    for i in range(-1):\n        g = g\n"), "E401"),
    "range(0.5)": (body("    for i in range(0.5):\n        g = g\n"), "E401"),
    "range(w)": (body("    for i in range(w):\n        g = g\n"), "E401"),
    "a huge number": (body("    x = g * 1e400\n"), "E008"),
    "many digits": (body(f"    x = g * {'9' * 5_000}\n"), "E008"),
    "a huge default": ("def train(w, g, k=1e999):\n" + TAIL, "E008"),
    "a huge negative default": ("def train(w, g, k=-1e999):\n" + TAIL, "E008"),
    "exponential inlining": (doubling_helpers(48), "E402"),
    "deep helpers": (deep_helpers(200), "E403"),
    "deep calls of helpers": (deep_calls_of_helpers(50), "E403"),
    "helpers with very many parameters": (
        f"def h({', '.join(f'a{i}=1' for i in range(9_000))}):\n    return a1\n"
        + body("    g = g * h()\n" * 3_000), "E402"),
    "a recursive helper": ("def h(x):\n    return h(x)\n" + body("    g = h(g)\n"), "E403"),
    "helpers that call each other": (
        "def a(x):\n    return b(x)\ndef b(x):\n    return a(x)\n" + body("    g = a(g)\n"),
        "E403",
    ),
    "train calls itself": (body("    x = train(w, g, lr)\n"), "E102"),
    "an import from above": ("from ../secret import x\n" + HEAD + TAIL, "E007"),
    "an import with dots": ("from ..secret import x\n" + HEAD + TAIL, "E007"),
    "an absolute import": ("from /etc/passwd import x\n" + HEAD + TAIL, "E006"),
    "a string import": ('from "../secret" import x\n' + HEAD + TAIL, "E007"),
    "an unclosed string": ('"""' + "x" * 10_000, "E005"),
    "many quotes": (body(f"    x = {chr(34) * 999}\n"), "E007"),
    "backslashes": (body(f"    x = {chr(92) * 500}\n"), "E007"),
    "a long name": (body(f"    x = g * {'a' * 50_000}\n"), "E101"),
    "a name of marks": (body(f"    x = a{chr(0x301) * 5_000}\n"), "E101"),
    "a thousand errors": (body("    x = = g\n" * 1_000), "E006"),
    "a division sign": (body("    x = g ÷ w\n"), "E006"),
    "a superscript": (body("    x = g²\n"), "E104"),
    "a superscript for the name of another": (body("    g2 = w\n    g = g²\n"), "E104"),
    "underscores in a row": (body(f"    x = g * 1{'_' * 500}0\n"), "E006"),
    "digits of another script": (body("    x = g * ٣\n"), "E006"),
}  # fmt: skip
"""Texts that must be refused, and a code that must be among the reasons."""

LEGAL: dict[str, str] = {
    "a tiny number": body("    g = g * 1e-400\n"),
    "many zeros": body(f"    g = g * 0.{'0' * 5_000}1\n"),
    "underscores": body(f"    g = g * {'1_' * 100}0\n"),
    "a long name": HEAD.replace("w,", f"{'a' * 10_000}=1.0,") + TAIL,
    "a long docstring": '"""' + "x\n" * 10_000 + '"""\n' + HEAD + TAIL,
    "many comments": "# x\n" * 10_000 + HEAD + "    # x\n" * 10_000 + TAIL,
    "many helpers": "".join(f"def h{i}(x):\n    return x\n" for i in range(1_000)) + HEAD + TAIL,
    "many statements": body("    g = g * g\n" * 4_000),
    "deep parentheses": body(f"    g = {'(' * 99}g{')' * 99}\n"),
    "Windows line ends": body("    g = g * w\n").replace("\n", "\r\n"),
    "no final line end": body("    g = g * w\n").rstrip(),
    "tabs between tokens": body("    g\t=\tg\t*\tw\t# why\n"),
    "names of functions": body("    abs = g * w\n    range = abs(abs)\n"),
    "names alike in form KC": body("    ﬁ = g\n    g = fi * 2\n"),
    "line ends in parentheses": body("    g = (\n\n  g # why\n\t+\nw)\n"),
}
"""Texts that look odd and are fine."""

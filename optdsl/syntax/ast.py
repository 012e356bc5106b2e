"""The syntax tree: what the text says, before names and kinds are looked at.

Every node has the span of its text. Expressions have their depth, so that no walk over a tree
that the parser let through can run out of stack.
"""

from dataclasses import dataclass
from keyword import iskeyword

from optdsl.diagnostics import Span


def why_unusable(name: str) -> str:
    """Why a name can't be one of the language's; empty if it can."""
    if not name.isidentifier():
        return "not a Python identifier"
    if iskeyword(name):
        return "a Python keyword"
    if name.startswith("__"):
        return "reserved: it begins with two underscores"
    return ""


@dataclass(frozen=True)
class Identifier:
    """A name where it stands; `text` is in Unicode normal form KC, as Python's own names are.

    An unusable one, which is reported, stays as it is written.
    """

    text: str
    span: Span


@dataclass(frozen=True)
class Number:
    """A literal; `text` is as written."""

    text: str
    value: float
    span: Span
    depth: int = 1


@dataclass(frozen=True)
class Name:
    """A variable that is read."""

    text: str
    span: Span
    depth: int = 1


@dataclass(frozen=True)
class Negation:
    """Unary minus."""

    operand: "Expression"
    span: Span
    depth: int


@dataclass(frozen=True)
class Binary:
    """An arithmetic operator or a comparison between two expressions."""

    operator: str
    left: "Expression"
    right: "Expression"
    span: Span
    depth: int


@dataclass(frozen=True)
class Call:
    """A function or helper applied to arguments."""

    function: Identifier
    args: "tuple[Expression, ...]"
    span: Span
    depth: int


@dataclass(frozen=True)
class Missing:
    """Stands for an expression with an error, already reported."""

    span: Span
    depth: int = 1


Expression = Number | Name | Negation | Binary | Call | Missing

COMPARISONS = ("<", "<=", ">", ">=", "==", "!=")


@dataclass(frozen=True)
class Comments:
    """What the author wrote around a statement; line comments with their `#`."""

    above: tuple[str, ...] = ()
    beside: str = ""
    blank_before: bool = False


@dataclass(frozen=True)
class Assign:
    """`a = value`, or `a, b = helper(...)`."""

    targets: tuple[Identifier, ...]
    value: Expression
    span: Span
    comments: Comments = Comments()


@dataclass(frozen=True)
class ForLoop:
    """`for variable in function(count):`; only `range` is a legal function."""

    variable: Identifier
    function: Identifier
    count: Expression
    body: "tuple[Statement, ...]"
    span: Span
    comments: Comments = Comments()
    end_comments: tuple[str, ...] = ()


@dataclass(frozen=True)
class Else:
    """`else:`, the end of an `If`."""

    body: "tuple[Statement, ...]"
    span: Span
    comments: Comments = Comments()
    end_comments: tuple[str, ...] = ()


@dataclass(frozen=True)
class If:
    """`if condition:`; only a comparison is a legal condition."""

    condition: Expression
    body: "tuple[Statement, ...]"
    orelse: Else | None
    span: Span
    comments: Comments = Comments()
    end_comments: tuple[str, ...] = ()


@dataclass(frozen=True)
class Return:
    """`return value, ...`."""

    values: tuple[Expression, ...]
    span: Span
    comments: Comments = Comments()


@dataclass(frozen=True)
class Broken:
    """A line with a syntax error, already reported.

    `targets` are the names that it seems to bind, `body` is the block below it, and that of the
    `else` behind it.
    """

    targets: tuple[str, ...]
    body: "tuple[Statement, ...]"
    span: Span
    comments: Comments = Comments()


Statement = Assign | ForLoop | If | Return | Broken


@dataclass(frozen=True)
class Annotation:
    """`NAME` or `NAME[NAME]` behind a parameter's colon."""

    name: Identifier
    argument: Identifier | None


@dataclass(frozen=True)
class Parameter:
    """A parameter of a function."""

    name: Identifier
    annotation: Annotation | None
    default: Number | None


@dataclass(frozen=True)
class Docstring:
    """A string with its quotes, as written."""

    text: str
    span: Span
    comments: Comments = Comments()

    @property
    def content(self) -> str:
        """The text between the quotes."""
        width = 3 if self.text.startswith('"""') else 1
        return self.text[width:-width].strip()


@dataclass(frozen=True)
class Function:
    """A `def`."""

    name: Identifier
    parameters: tuple[Parameter, ...]
    docstring: Docstring | None
    body: tuple[Statement, ...]
    span: Span
    comments: Comments = Comments()
    end_comments: tuple[str, ...] = ()


@dataclass(frozen=True)
class Import:
    """`from module import name, ...`."""

    module: Identifier
    names: tuple[Identifier, ...]
    span: Span
    comments: Comments = Comments()


@dataclass(frozen=True)
class File:
    """A whole `.opt` file."""

    docstring: Docstring | None
    imports: tuple[Import, ...]
    functions: tuple[Function, ...]
    broken: tuple[Broken, ...] = ()
    end_comments: tuple[str, ...] = ()

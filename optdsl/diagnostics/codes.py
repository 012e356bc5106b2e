"""Every diagnostic code, once: its severity, title, and the text of `check --explain`."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Code:
    """A stable code. Codes are never reused for another meaning."""

    title: str
    explanation: str
    severity: str = "error"


CODES: dict[str, Code] = {
    # E0xx: the text
    "E001": Code(
        "the file can't be read",
        "The path names no readable file and no program of the standard library. Paths are taken\n"
        "as they are; a bare name such as `lion` is looked up in `optdsl stdlib` too.",
    ),
    "E002": Code(
        "the file is too large",
        "A `.opt` file may hold at most 256 KiB. Optimizers are short: ten lines.",
    ),
    "E003": Code(
        "the text is not valid UTF-8, or has characters that can't be shown safely",
        "A `.opt` file is UTF-8 text. Control characters, NUL bytes and the marks that change the\n"
        "direction of writing are refused everywhere, comments included, because they can make a\n"
        "program look different from what it is.",
    ),
    "E004": Code(
        "indentation",
        "Blocks are indented with spaces, all statements of a block by the same number. A tab has\n"
        "no agreed width, so it is refused in indentation.",
    ),
    "E005": Code(
        "a bracket or a docstring is not closed, or a bracket not opened",
        "Every `(` and `[` needs its partner, and so do the quotes of a docstring. A line goes on\n"
        "to the next one while a bracket is open, so a missing `)` is often noticed only some\n"
        "lines later.",
    ),
    "E006": Code(
        "syntax",
        "The text is not a `.opt` program. A file holds imports, helper `def`s and one\n"
        "`def train(...)`; a body holds assignments, `for i in range(N):` and `return`.\n"
        "docs/language.md shows the whole grammar.",
    ),
    "E007": Code(
        "not part of the language",
        "The language is a small part of Python: no `while`, `class`, attributes, indexing or\n"
        "strings. Use `if a < b:` or `where(a < b, x, y)` to choose between values, and helper\n"
        "`def`s to share code.",
    ),
    "E008": Code(
        "a number out of range",
        "Numbers are finite double-precision values: below 1.8e308. Write a smaller number.",
    ),
    "E009": Code(
        "nested too deeply",
        "An expression may be nested 100 levels deep, and blocks 20. Give parts of an expression\n"
        "names of their own.",
    ),
    # E1xx: names
    "E101": Code(
        "unknown name",
        "A name must be a parameter of the function or be assigned above the line that reads it.",
    ),
    "E102": Code(
        "unknown function",
        "The name before `(` is neither a function of the language (`optdsl functions`), nor a\n"
        "helper `def` of this file, nor imported.",
    ),
    "E103": Code(
        "declared twice",
        "Two parameters of a function, two helpers, or a helper and a function of the language\n"
        "can't share a name.",
    ),
    "E104": Code(
        "not a usable name",
        "Names are Python identifiers, so that a hyperparameter can be passed as a keyword:\n"
        "Python's own keywords and names with two leading underscores are taken.",
    ),
    # E2xx: arguments and kinds
    "E201": Code(
        "wrong number of arguments",
        "`optdsl functions` shows each function's arguments.",
    ),
    "E202": Code(
        "a comparison outside of `where` and `if`, or none in one",
        "There are no truth values: a comparison stands only as the first argument of `where`, as\n"
        "in `where(x < 0, -x, x)`, and behind `if`.",
    ),
    "E203": Code(
        "values of shapes that don't fit",
        "Arguments are cast upward to a common kind: scalar < per_array < per_row, per_column <\n"
        "array. Kinds with no common one, such as `array` and `transposed`, can't be combined.",
    ),
    "E204": Code(
        "the argument's kind",
        "Some arguments must be scalars: the bound of `clip` and the third argument of `interp`.\n"
        "Values are never cast down: use a reduction such as `mean` or `global_norm`.",
    ),
    "E205": Code(
        "a helper's result",
        "A helper that returns several values is called as `a, b = helper(...)`, with as many\n"
        "names as it returns values; one used inside an expression returns exactly one.",
    ),
    # E3xx: train, its parameters and what it returns
    "E301": Code(
        "no `train`",
        "A program needs `def train(...)`: the update of the weights at one training step.",
    ),
    "E302": Code(
        "the update must be an array",
        "The first value that `train` returns is subtracted from the weights (`w = w - update`),\n"
        "so it must hold a number for each weight. Scalars are not cast up here: an update that\n"
        "is the same for all weights is almost always a mistake; write `0 * w + x` if it is not.",
    ),
    "E303": Code(
        "the number of values returned",
        "`train` returns the update first, then each state variable's new value, in the order of\n"
        "the parameters. State variables are the parameters that are not inputs (`w`, `g`, `lr`,\n"
        "`step`) and have no default.",
    ),
    "E304": Code(
        "a state variable's new value has another kind",
        "A state variable keeps its kind from step to step: an array unless it is annotated, as\n"
        "in `c: scalar` or `c: per_array`. Its new value is cast upward, never down.",
    ),
    "E305": Code(
        "an unknown annotation",
        "A state variable may be annotated with a kind (`c: scalar`), with the dtype it is stored\n"
        "in (`m: bfloat16`), or with both (`c: per_array[bfloat16]`).",
    ),
    "E306": Code(
        "an annotation or a default that the parameter can't have",
        "The inputs `w`, `g`, `lr` and `step` are given by the training loop and take neither;\n"
        "hyperparameters are scalars. Helpers' parameters take defaults but no annotations.",
    ),
    "E307": Code(
        "statements after `return`, or no `return`",
        "A function ends with its only `return`.",
    ),
    "E308": Code(
        "two parameters for the same input",
        "`w` and `weight` are the same input, and so are `g`, `grad` and `gradient`.",
    ),
    # E4xx: limits
    "E401": Code(
        "a loop's bound",
        "`for i in range(N):` is unrolled, so N is a whole number written as such, at most 10000.",
    ),
    "E402": Code(
        "the program is too long",
        "After inlining helpers and unrolling loops a program may have 10,000 statements.",
    ),
    "E403": Code(
        "a helper calls itself, or helpers call too deeply",
        "Helpers are inlined where they are called, so they can't be recursive, and a call may\n"
        "stand in at most 100 expressions, loops and calls.",
    ),
    # E5xx: imports
    "E501": Code(
        "the imported file is not there",
        "`from NAME import helper` looks for NAME.opt beside the file, then in the standard\n"
        "library. Paths and packages are not supported: a program never leaves its folder.",
    ),
    "E502": Code(
        "the imported file has no such helper",
        "Only helper `def`s can be imported, by their own names. `train` can't.",
    ),
    "E503": Code(
        "files that import each other",
        "Imports must not form a cycle. Move what both need into a third file.",
    ),
    "E504": Code(
        "the imported file has errors",
        "Check that file first: `optdsl check FILE`.",
    ),
    "E505": Code(
        "imports nested too deeply",
        "A file imports another, that one a third, and so on: at most 20 of them in a row.",
    ),
    # W: warnings, which leave the exit code 0
    "W101": Code(
        "an unused hyperparameter",
        "Nothing reads it, so setting it changes nothing. Warnings leave the exit code 0.\n"
        "A comment `# optdsl: allow[W101]` on the line, or above it, silences this one.",
        severity="warning",
    ),
    "W201": Code(
        "a division by zero",
        "A divisor is zero in a run that the message names, found by trying zero, huge and tiny\n"
        "gradients, and the update or a state is infinite or NaN from then on. Add a small number\n"
        "to the divisor, as in `g / (sqrt(v) + 1e-8)`, or choose with `where(v == 0, 0, g / v)`.\n"
        "A comment `# optdsl: allow[W201]` on the line, or above it, silences this warning.",
        severity="warning",
    ),
    "W202": Code(
        "an argument outside of a function's domain",
        "A root or a logarithm of a number below zero, or the like, in a run that the message\n"
        "names: the update or a state is NaN from then on. `maximum(x, 0)` keeps x in the domain,\n"
        "and `optdsl inspect` shows all places where that cannot be excluded. A comment\n"
        "`# optdsl: allow[W202]` on the line, or above it, silences this warning.",
        severity="warning",
    ),
}

"""Which names are suggested."""

import pytest

from optdsl.diagnostics import did_you_mean, nearest
from optdsl.diagnostics.suggest import MAX_KNOWN, MAX_SUGGESTIONS


@pytest.mark.parametrize(
    ("name", "known", "expected"),
    [
        ("beta3", ["beta1", "gamma", "beta2"], ["beta1", "beta2"]),
        ("sqr", ["square", "sqrt", "sign"], ["sqrt", "square"]),
        ("β3", ["β1", "b1"], []),
        ("m", ["m", "v"], []),
        ("aa", ["aab", "aac", "aad", "aae"], ["aab", "aac", "aad"]),
        ("x" * 5_000, ["x" * 4_999], []),
        ("abc", ["abd", "abd"], ["abd"]),
        ("abcd", [*map(str, range(MAX_KNOWN)), "abce"], []),
    ],
)
def test_nearest(name: str, known: list[str], expected: list[str]) -> None:
    assert nearest(name, known) == expected


def test_a_file_full_of_errors_gets_no_suggestions() -> None:
    assert nearest("abc", ["abd"], errors=MAX_SUGGESTIONS - 1) == ["abd"]
    assert nearest("abc", ["abd"], errors=MAX_SUGGESTIONS) == []


@pytest.mark.parametrize(
    ("names", "question"),
    [
        ([], ""),
        (["a"], "did you mean `a`?"),
        (["a", "b"], "did you mean `a` or `b`?"),
        (["a", "b", "c"], "did you mean `a`, `b` or `c`?"),
    ],
)
def test_did_you_mean(names: list[str], question: str) -> None:
    assert did_you_mean(names) == question

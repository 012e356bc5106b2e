"""How much work a call does, counted and not timed: the same on every machine."""

import sys
from collections.abc import Callable
from typing import Any


class TooMuchWork(BaseException):
    """The call went over its allowance; not an `Exception`, so that nobody handles it."""


def metered(function: Callable[[], Any], allowance: int) -> Any:
    """The function's result.

    Raises:
        TooMuchWork: after `allowance` calls of functions, Python's and built-in ones.
    """
    left = allowance

    def profile(frame: Any, event: str, argument: Any) -> None:
        nonlocal left
        del frame, argument
        if event in ("call", "c_call"):
            left -= 1
            if left < 0:
                sys.setprofile(None)
                raise TooMuchWork(f"more than {allowance:,} calls")

    before = sys.getprofile()
    sys.setprofile(profile)
    try:
        return function()
    finally:
        sys.setprofile(before)

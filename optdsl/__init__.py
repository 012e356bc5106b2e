"""A language, a compiler and a search for neural-network optimizers.

What `api.py` gives is loaded when it is first used: listing tasks waits for none of it.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from optdsl.api import OptError, OptimizerProgram, load, parse

__all__ = ["OptError", "OptimizerProgram", "load", "parse"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module `{__name__}` has no attribute `{name}`")
    from optdsl import api

    return getattr(api, name)

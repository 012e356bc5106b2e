"""What `optdsl funnel` left in a run folder, read as data that may come from anyone."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import msgspec

from optdsl.evolve.store import StoreError
from optdsl.tasks.statistics import BETTER, UNDECIDED, WORSE

FUNNEL_FILE = "funnel.json"
"""In the run folder; see `funnel.to_json`."""

MAX_BYTES = 10 * 2**20
"""A larger file is none of ours."""


@dataclass(frozen=True)
class FunnelBaseline:
    """The tuned baseline on a rung; a number is None where training diverged."""

    name: str
    test: float | None
    test_half_width: float | None


@dataclass(frozen=True)
class FunnelProgram:
    """A find on a rung, beside the baseline; a number is None where training diverged."""

    name: str
    test: float | None
    test_half_width: float | None
    validation_gain: float | None
    validation_gain_half_width: float | None
    test_gain: float | None
    test_gain_half_width: float | None
    verdict: Annotated[str, msgspec.Meta(pattern=f"^({BETTER}|{WORSE}|{UNDECIDED})$")]
    goes_on: bool


@dataclass(frozen=True)
class FunnelRung:
    """One task of a funnel."""

    task: str
    baseline: FunnelBaseline
    programs: tuple[FunnelProgram, ...]
    """From the best gain to the worst."""


@dataclass(frozen=True)
class _File:
    rungs: tuple[FunnelRung, ...]


def read_funnel(folder: Path) -> tuple[FunnelRung, ...]:
    """The rungs of a run folder's funnel; () if there was none.

    Raises:
        StoreError: if the file can't be read, or is none of a funnel.
    """
    path = folder / FUNNEL_FILE
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
        if len(content) > MAX_BYTES:
            raise StoreError(f"{path} is no funnel: it is too large; remove it")
        return msgspec.json.decode(content, type=_File).rungs
    except FileNotFoundError:
        return ()
    except OSError as error:
        raise StoreError(f"can't read {path}: {error.strerror or error}") from None
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise StoreError(
            f"{path} is no funnel: {error}; remove it, or run `optdsl funnel` again"
        ) from None

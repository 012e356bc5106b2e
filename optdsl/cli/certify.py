"""`optdsl certify FILE...`."""

import json
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import click

from optdsl.cli.compile import name_of
from optdsl.cli.output import FINDINGS, fail, finite, print_json, say
from optdsl.files import write_text
from optdsl.frontend import find_source, load, stdlib
from optdsl.passes.protect import protect

if TYPE_CHECKING:
    from optdsl.backends.torch_certificate import Certificate


@click.command("certify")
@click.argument("files", metavar="FILE...", nargs=-1)
@click.option("--stdlib", "all_of_it", is_flag=True, help="Every program of the standard library.")
@click.option("--steps", type=click.IntRange(1), default=200, show_default=True)
@click.option("--seeds", type=click.IntRange(1), default=1, show_default=True)
@click.option("--protected", is_flag=True, help="Keep functions inside of their domains.")
@click.option(
    "-o",
    "--output",
    metavar="OUT",
    help="Write the certificate to a file; those of several programs, and a table, to a folder.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one object; a list of several.")
def command(
    files: tuple[str, ...],
    all_of_it: bool,
    steps: int,
    seeds: int,
    protected: bool,
    output: str | None,
    as_json: bool,
) -> None:
    """Compare what programs do under JAX and under torch; exit 1 if one differs.

    Both train weights of 0 to 4 dimensions from the same start, on the same gradients as functions
    of the weights, in single and in double precision. The certificate names versions, seeds, and
    the largest relative difference of each run.
    """
    names = [*files, *(stdlib() if all_of_it else ())]
    if not names:
        fail("nothing to certify: name a FILE, or say --stdlib")
    sources = [find_source(name) for name in names]
    programs = {name_of(source): load(source) for source in sources}
    if len(programs) < len(sources):
        fail("two programs have one name, which their certificates would share")
    if find_spec("torch") is None:
        fail("certify needs PyTorch: pip install 'optdsl[torch]'")
    is_one = len(programs) == 1 and not all_of_it

    from optdsl.backends.torch_certificate import certify

    found: list[Certificate] = []
    for name, program in programs.items():
        program = protect(program) if protected else program
        found.append(certify(program, name, steps, range(seeds)))
        if not as_json:
            _show(found[-1], None if is_one else name)
        if output is not None:
            _write(Path(output) if is_one else Path(output, f"{name}.json"), _text(found[-1]))
    if output is not None:
        if not is_one:
            _write(Path(output, "table.md"), _table(found))
        say(f"wrote {output}")
    if as_json:
        print_json(found[0].to_json() if is_one else [each.to_json() for each in found])
    sys.exit(0 if all(each.agreed for each in found) else FINDINGS)


def _text(certificate: "Certificate") -> str:
    found = finite(certificate.to_json())
    return json.dumps(found, indent=2, allow_nan=False) + "\n"


def _write(path: Path, text: str) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text(path, text)
    except OSError as error:
        fail(f"can't write {path}: {error.strerror}")


def _show(certificate: "Certificate", name: str | None) -> None:
    """What was found; in one line for one program of several."""
    agreed = "agreed" if certificate.agreed else "not agreed"
    if name is not None:
        largest = (f"{dtype} {each:.1e}" for dtype, each in certificate.largest.items())
        say(f"{name}: {agreed}, {', '.join(largest)}")
        return
    for found in certificate.differences:
        run = f"{found.dtype}, seed {found.seed}{', foreach' * found.foreach}"
        if not found.steps:
            say(f"{run}: no weight was finite after the first step")
            continue
        say(
            f"{run}: largest relative difference {found.largest:.1e}"
            f" ({found.leaf}, step {found.step}) in {found.steps} steps;"
            f" at most {certificate.tolerances[found.dtype]:g} agrees"
        )
    say(agreed)


def _table(certificates: Sequence["Certificate"]) -> str:
    """The largest differences of all programs, in Markdown."""
    dtypes = list(certificates[0].tolerances)
    lines = [f"| program | {' | '.join(dtypes)} |", f"| --- |{' --- |' * len(dtypes)}"]
    for each in certificates:
        cells = (f"{each.largest[dtype]:.1e}" for dtype in dtypes)
        lines.append(f"| {each.program} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"

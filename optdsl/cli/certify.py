"""`optdsl certify FILE`."""

import json
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import click

from optdsl.cli.compile import name_of
from optdsl.cli.output import FINDINGS, fail, finite, print_json, say
from optdsl.files import write_text
from optdsl.frontend import find_source, load
from optdsl.passes.protect import protect

if TYPE_CHECKING:
    from optdsl.backends.torch_certificate import Certificate


@click.command("certify")
@click.argument("file", metavar="FILE")
@click.option("--steps", type=click.IntRange(1), default=200, show_default=True)
@click.option("--seeds", type=click.IntRange(1), default=1, show_default=True)
@click.option("--protected", is_flag=True, help="Keep functions inside of their domains.")
@click.option("-o", "--output", metavar="OUT", help="Write the certificate to a file.")
@click.option("--json", "as_json", is_flag=True, help="Print one object.")
def command(
    file: str, steps: int, seeds: int, protected: bool, output: str | None, as_json: bool
) -> None:
    """Compare what a program does under JAX and under torch; exit 1 if they differ.

    Both train weights of 0 to 4 dimensions from the same start, on the same gradients as functions
    of the weights, in single and in double precision. The certificate names versions, seeds, and
    the largest relative difference of each run.
    """
    source = find_source(file)
    program = load(source)
    program = protect(program) if protected else program
    if find_spec("torch") is None:
        fail("certify needs PyTorch: pip install 'optdsl[torch]'")

    from optdsl.backends.torch_certificate import certify

    certificate = certify(program, name_of(source), steps, range(seeds))
    if output is not None:
        text = json.dumps(finite(certificate.to_json()), indent=2, allow_nan=False)
        try:
            write_text(Path(output), text + "\n")
        except OSError as error:
            fail(f"can't write {output}: {error.strerror}")
    if as_json:
        print_json(certificate.to_json())
    else:
        _show(certificate)
        if output is not None:
            say(f"wrote {output}")
    sys.exit(0 if certificate.agreed else FINDINGS)


def _show(certificate: "Certificate") -> None:
    for found in certificate.differences:
        if not found.steps:
            say(f"{found.dtype}, seed {found.seed}: no weight was finite after the first step")
            continue
        say(
            f"{found.dtype}, seed {found.seed}: largest relative difference {found.largest:.1e}"
            f" ({found.leaf}, step {found.step}) in {found.steps} steps;"
            f" at most {certificate.tolerances[found.dtype]:g} agrees"
        )
    say("agreed" if certificate.agreed else "not agreed")

"""`optdsl report DIR`."""

from pathlib import Path

import click

from optdsl.cli.output import fail, print_json, say
from optdsl.evolve.store import StoreError
from optdsl.files import write_text
from optdsl.report.page import page
from optdsl.report.summary import summarize


@click.command("report")
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print one object with the same figures.")
@click.option("-o", "--output", metavar="OUT", help="The page's file.  [default: DIR/report.html]")
def command(folder: Path, as_json: bool, output: str | None) -> None:
    """Make one self-contained page about a search from its run folder.

    The folder is only read, but for the page itself: the search may still be running.
    """
    file = Path(output) if output is not None else folder / "report.html"
    try:
        summary = summarize(folder)
        write_text(file, page(summary))
    except StoreError as error:
        fail(str(error))
    except OSError as error:
        fail(f"can't write {file}: {error.strerror or error}")
    if as_json:
        print_json(summary.to_json() | {"file": str(file)})
    say(f"wrote {file}")

"""The heat map of a sweep as text (Figure 8 of the paper): learning rates down, decays across."""

from rich.console import Console
from rich.table import Table
from rich.text import Text

from optdsl.comparison.tune import Cell, Tuned
from optdsl.tasks.scores import FAILED

SHADES = ("black on green", "black on cyan", "white on blue", "white on black")
"""From the best quarter of the scores to the worst; numbers alone where there are no colours."""


def show_heat_map(tuned: Tuned) -> None:
    """Print the coarse grid, and the chosen setting if it lies between."""
    cells = {_key(tuned, cell): cell for cell in tuned.grid}
    best = _key(tuned, tuned.best)
    shown = [key for key, cell in cells.items() if cell.on_grid or key == best]
    rates, decays = (sorted(set(values)) for values in zip(*shown, strict=True))
    ranked = sorted((cell.mean for cell in tuned.grid if cell.mean > FAILED), reverse=True)
    table = Table(title=f"Mean validation score on {tuned.task.name}")
    table.add_column(f"lr \\ {tuned.decay}" if tuned.decay else "lr", justify="right")
    for decay in decays:
        table.add_column(f"{decay:.3g}" if tuned.decay else "score", justify="right")
    for rate in rates:
        row = [cells.get((rate, decay)) for decay in decays]
        marks = [" *" if (rate, decay) == best else "" for decay in decays]
        texts = [_text(cell, mark, ranked) for cell, mark in zip(row, marks, strict=True)]
        table.add_row(f"{rate:.3g}", *texts)
    console = Console(stderr=True, highlight=False)
    console.print(table)
    console.print("* the best, – diverged")


def _key(tuned: Tuned, cell: Cell) -> tuple[float, float]:
    values = dict(cell.setting.hyperparameters)
    return cell.setting.learning_rate, values[tuned.decay] if tuned.decay else 0.0


def _text(cell: Cell | None, mark: str, ranked: list[float]) -> Text:
    """A cell's score in its shade; empty where nothing was tried."""
    if cell is None:
        return Text()
    if cell.mean == FAILED:
        return Text("–" + mark)
    shade = SHADES[ranked.index(cell.mean) * len(SHADES) // len(ranked)]
    return Text(f"{cell.mean:.4f}{mark}", style=shade)

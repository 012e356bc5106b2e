"""The heat map of a sweep as text (Figure 8 of the paper): learning rates down, decays across."""

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from optdsl.comparison.tune import Cell
from optdsl.tasks.scores import FAILED

SHADES = ("black on green", "black on cyan", "white on blue", "white on black")
"""From the best quarter of the scores to the worst; numbers alone where there are no colours."""


def show_heat_map(title: str, cells: Sequence[Cell], decay: str | None, best: Cell) -> None:
    """Print settings as a grid.

    Args:
        title: what stands above.
        cells: those on the coarse grid are shown, and the best one.
        decay: the hyperparameter across; None for learning rates alone.
        best: the marked one, of `cells`.
    """
    places = {_place(cell, decay): cell for cell in cells}
    shown = [place for place, cell in places.items() if cell.on_grid or cell == best]
    rates, decays = (sorted(set(values)) for values in zip(*shown, strict=True))
    ranked = sorted((cell.mean for cell in cells if cell.mean > FAILED), reverse=True)
    table = Table(title=title)
    table.add_column(f"lr \\ {decay}" if decay else "lr", justify="right")
    for strength in decays:
        table.add_column(f"{strength:.3g}" if decay else "score", justify="right")
    for rate in rates:
        row = [places.get((rate, strength)) for strength in decays]
        table.add_row(f"{rate:.3g}", *(_text(cell, cell == best, ranked) for cell in row))
    console = Console(stderr=True, highlight=False)
    console.print(table)
    console.print("* the best, – diverged")


def _place(cell: Cell, decay: str | None) -> tuple[float, float]:
    setting = cell.setting
    return setting.learning_rate, dict(setting.hyperparameters)[decay] if decay else 0.0


def _text(cell: Cell | None, is_best: bool, ranked: list[float]) -> Text:
    """A cell's score in its shade; empty where nothing was tried."""
    if cell is None:
        return Text()
    mark = " *" if is_best else ""
    if cell.mean == FAILED:
        return Text("–" + mark)
    shade = SHADES[ranked.index(cell.mean) * len(SHADES) // len(ranked)]
    return Text(f"{cell.mean:.4f}{mark}", style=shade)

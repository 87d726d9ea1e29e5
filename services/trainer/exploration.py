"""Phase 1 of the workshop, look at the data first: a report in the terminal and pictures in a folder."""

from pathlib import Path

import numpy as np
import pandas as pd
from rich.console import Console
from rich.table import Table as Grid

from trainer import iris
from trainer.errors import DataError

BARS = " ▁▂▃▄▅▆▇█"
BINS = 12


def explore(data_dir: Path, console: Console) -> None:
    """Write the CSV, report on it, and draw its pictures into data_dir/exploration."""
    console.print(iris.write(data_dir))
    frame = pd.read_csv(data_dir / iris.FILE_NAME)
    features = frame.drop(columns=[iris.TARGET, iris.CLASS_NAME])
    class_names = frame[iris.CLASS_NAME]
    console.print(f"Shape {frame.shape}: {len(frame)} rows; {features.shape[1]} features, the target and its name\n")
    console.print(_columns(frame))
    console.print(_classes(class_names))
    console.print(_distributions(features, class_names))
    _draw(features, class_names, data_dir / "exploration", console)


def _columns(frame: pd.DataFrame) -> Grid:
    grid = Grid("column", "type", "missing", "distinct", title="Columns", title_justify="left")
    for name, column in frame.items():
        grid.add_row(str(name), str(column.dtype), str(column.isna().sum()), str(column.nunique()))
    return grid


def _classes(class_names: pd.Series) -> Grid:
    grid = Grid("class", "rows", "share", title="Classes", title_justify="left")
    for name, count in class_names.value_counts(sort=False).items():
        grid.add_row(str(name), str(count), f"{count / len(class_names):.1%}")
    return grid


def _distributions(features: pd.DataFrame, class_names: pd.Series) -> Grid:
    grid = Grid(
        "feature",
        "class",
        "mean",
        "std",
        "min",
        "median",
        "max",
        "min → max of the feature",
        title="Distribution of each feature in each class",
        title_justify="left",
    )
    for name, column in features.items():
        edges = np.linspace(column.min(), column.max(), BINS + 1)
        for position, (class_name, values) in enumerate(column.groupby(class_names, sort=False)):
            figures = [values.mean(), values.std(), values.min(), values.median(), values.max()]
            grid.add_row(
                str(name) if position == 0 else "",
                str(class_name),
                *(f"{figure:.2f}" for figure in figures),
                _bars(np.histogram(values, edges)[0]),
            )
        grid.add_section()
    return grid


def _bars(counts: np.ndarray) -> str:
    """Draw counts as one character each; any count above zero is seen."""
    heights = np.ceil(counts / max(counts.max(), 1) * (len(BARS) - 1)).astype(int)
    return "".join(BARS[height] for height in heights)


def _draw(features: pd.DataFrame, class_names: pd.Series, folder: Path, console: Console) -> None:
    from trainer.pictures import exploration_pictures

    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, picture in exploration_pictures(features, class_names):
            picture.savefig(folder / name)
            console.print(f"{folder / name} drawn")
    except OSError as error:
        raise DataError(
            f"{folder} cannot be written: {error.strerror}; give this user the right to write there"
        ) from error

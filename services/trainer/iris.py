"""The iris data set as a CSV file: Fisher 1936, taken from the copy inside scikit-learn."""

from pathlib import Path

from trainer.errors import DataError

FILE_NAME = "iris_dataset.csv"
TARGET = "target"
CLASS_NAME = "target_name"


def csv_bytes() -> bytes:
    """Return the file's content, the same bytes on every machine: 150 rows, four features in cm, target, class name."""
    from sklearn.datasets import load_iris

    bunch = load_iris(as_frame=True)
    frame = bunch.frame.assign(**{CLASS_NAME: bunch.target_names[bunch.target]})
    text: str = frame.to_csv(index=False, lineterminator="\n")
    return text.encode()


def write(folder: Path) -> str:
    """Write the CSV into the folder and return what was done; raise DataError rather than overwrite other data."""
    path, content = folder / FILE_NAME, csv_bytes()
    try:
        if path.exists():
            if path.read_bytes() == content:
                return f"{path} is there already, byte for byte"
            raise DataError(f"{path} is not the iris data set as published; move it away, then explore writes it anew")
        folder.mkdir(parents=True, exist_ok=True)
        draft = path.with_suffix(".draft")
        draft.write_bytes(content)
        draft.replace(path)
    except OSError as error:
        raise DataError(
            f"{path} cannot be written: {error.strerror}; give this user the right to write there"
        ) from error
    return f"{path} written"

"""The data sets that come with scikit-learn, as CSV files: iris (Fisher 1936), the default, and four others."""

from pathlib import Path

from trainer.errors import DataError

NAMES = ("iris", "wine", "breast_cancer", "digits", "diabetes")
DEFAULT = "iris"
# The workshop's: a model of iris that is worse than this has not learnt what there is to learn.
THRESHOLDS = {"test_accuracy": 0.9}
TARGET = "target"
CLASS_NAME = "target_name"
# Where compose.yaml mounts the folder data/ that lies beside it.
MOUNTED = Path("/data")


def path_of(folder: Path, name: str) -> Path:
    """Return where a data set's file is."""
    return folder / f"{name}_dataset.csv"


def csv_bytes(name: str) -> bytes:
    """Return the file's content, the same bytes on every machine: the features, the target, and its class's name."""
    from sklearn import datasets

    bunch = getattr(datasets, f"load_{name}")(as_frame=True)
    frame = bunch.frame
    if "target_names" in bunch:
        frame = frame.assign(**{CLASS_NAME: bunch.target_names[bunch.target]})
    text: str = frame.to_csv(index=False, lineterminator="\n")
    return text.encode()


def write(folder: Path, name: str) -> str:
    """Write the CSV into the folder and return what was done; raise DataError rather than overwrite other data."""
    path, content = path_of(folder, name), csv_bytes(name)
    try:
        if path.exists():
            if path.read_bytes() == content:
                return f"{as_on_host(path)} is there already, byte for byte"
            raise DataError(f"{path} is not the {name} data set as published; move it away, then it is written anew")
        folder.mkdir(parents=True, exist_ok=True)
        draft = path.with_suffix(".draft")
        draft.write_bytes(content)
        draft.replace(path)
    except OSError as error:
        raise DataError(
            f"{path} cannot be written: {error.strerror}; give this user the right to write there"
        ) from error
    return f"{as_on_host(path)} written"


def as_on_host(path: Path) -> Path:
    """Return where people find a file of the data folder: what is /data in the container is data/ beside compose.yaml."""
    return path.relative_to("/") if path.is_relative_to(MOUNTED) else path

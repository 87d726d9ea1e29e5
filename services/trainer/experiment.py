"""What one training is asked for: options of the command line, or the keys of a YAML file.

The file's keys are the options' names with underscores, and four that have no place on a command line: `params` (of the
estimator), `pipeline` (whole, step by step), `space` (what a search may try) and `thresholds`. An option that is given beside a
file wins over the file.
"""

import hashlib
import json
import re
import sys
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import yaml

from trainer.data import builtin_datasets
from trainer.data.files.form import Form
from trainer.errors import SettingsError
from trainer.settings import Settings

# Where files about models are, beside the data.
FOLDER = Path("experiments")
# What only a file can say.
NESTED = ("params", "pipeline", "space", "thresholds")
# What a plan says of how a file is written; the reading adds the rest.
FORM = tuple(each.name for each in fields(Form) if each.name not in ("drop", "words", "quantity"))


@dataclass(frozen=True)
class Plan:
    """What to train on what; an empty plan is the default one: logistic regression on iris."""

    data: str | None = None
    dataset: str | None = None
    target: str = builtin_datasets.TARGET
    task: str | None = None
    drop: tuple[str, ...] = ()
    keep: tuple[str, ...] = ()
    skip_unlabelled: bool = False
    group: str | None = None
    time: str | None = None
    weight: str | None = None
    separator: str | None = None
    decimal: str | None = None
    thousands: str | None = None
    encoding: str | None = None
    comment: str | None = None
    skip_lines: int = 0
    sheet: str | None = None
    member: str | None = None
    text: tuple[str, ...] = ()
    number: tuple[str, ...] = ()
    date: tuple[str, ...] = ()
    model_name: str | None = None
    algorithm: tuple[str, ...] = ()
    estimator: str | None = None
    params: Mapping[str, Any] = field(default_factory=dict)
    pipeline: list[Any] | None = None
    space: Mapping[str, Any] | None = None
    search: int = 0
    folds: int = 5
    metric: str | None = None
    positive: str | None = None
    class_weight: str | None = None
    calibrate: bool = False
    decision_threshold: str | None = None
    thresholds: Mapping[str, float] = field(default_factory=dict)
    rule: str = "significant"
    margin: float = 0.0
    promote: bool = True
    force: bool = False
    reason: str | None = None
    new_ranges: bool = False
    accept_leak: bool = False
    if_new: bool = False

    def __post_init__(self) -> None:
        """Raise SettingsError where options do not go together, or say of a file what none can be."""
        self.form()
        if self.data and self.dataset:
            raise SettingsError(f"--data {self.data} and --dataset {self.dataset} are two data sets; expected one")
        if self.params and len(self.algorithm) > 1:
            raise SettingsError("--param is for one algorithm, and there are several; expected one --algorithm")
        if self.several and not self.model_name:
            raise SettingsError("several algorithms compete for one model; name it with --model-name")
        if twice := [name for name, count in Counter(self.form().wishes.names).items() if count > 1]:
            raise SettingsError(f"--text, --number and --date name {twice[0]!r} twice; expected one of them, once")
        if self.force and not self.reason:
            raise SettingsError("--force promotes whatever the figures are, so it needs --reason 'why'")
        if self.force and not self.promote:
            raise SettingsError("--force and --no-promote exclude each other; expected one")
        if self.space and not self.search:
            raise SettingsError("a space is searched, and --search N says in how many trials; it is not given")
        self._check_division()
        self._check_figures()

    def _check_division(self) -> None:
        if self.group and self.time:
            raise SettingsError(
                f"--group {self.group} and --time {self.time} divide the rows in two ways; expected one"
            )
        if self.weight and self.weight in (self.group, self.time):
            raise SettingsError(f"--weight {self.weight} divides the rows as well; expected another column")
        if self.calibrate and (self.group or self.time):
            raise SettingsError(
                "--calibrate takes random folds, which --group and --time forbid; leave one of them out"
            )

    def _check_figures(self) -> None:
        if not _is_number(self.margin) or self.margin < 0:
            raise SettingsError(f"--margin is {self.margin!r}; expected a finite number from 0")
        for name, value in self.thresholds.items():
            if not _is_number(value):
                raise SettingsError(f"thresholds: the threshold of {name} is {value!r}; expected a finite number")

    def form(self) -> Form:
        """Return what is said of how the file is written. Raises SettingsError for what no file can be read by."""
        return Form(**{name: getattr(self, name) for name in FORM})

    def sha256(self) -> str:
        """Return a digest of all that decides what a training comes to, but for its data and the name of its model."""
        decides = {
            name: value for name, value in asdict(self).items() if name not in ("model_name", "reason", "if_new")
        }
        return hashlib.sha256(json.dumps(decides, sort_keys=True, default=str).encode()).hexdigest()

    @property
    def several(self) -> bool:
        """Whether there is more than one algorithm."""
        return len(self.algorithm) + (self.estimator is not None) + (self.pipeline is not None) > 1

    def path(self, folder: Path) -> Path:
        """Return the file to read, which lies in the data folder; a data set of scikit-learn's is written there."""
        if self.data is None:
            name = self.dataset or builtin_datasets.DEFAULT
            path = builtin_datasets.path_of(folder, name)
            if name != builtin_datasets.DEFAULT:
                builtin_datasets.write(folder, name)
            return path
        given = Path(self.data)
        inside = Path(*given.parts[1:]) if given.parts[:1] == ("data",) else given
        path = folder / inside
        if not path.resolve().is_relative_to(folder.resolve()):
            raise SettingsError(
                f"--data {self.data} is not in the data folder; copy it to data/ and name it from there"
            )
        return path

    def registered_name(self, settings: Settings, data_set: str, algorithm: str) -> str:
        """Return the registered model that a version is added to, <data set>_<algorithm> where nobody says."""
        default = f"{data_set}_{algorithm}"
        return self.model_name or (default if settings.model_name == Settings.model_name else settings.model_name)


def _is_number(value: Any) -> bool:
    """Tell whether a figure can be compared with a value: nothing is above or below NaN."""
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= sys.float_info.max


def file_of(model_name: str) -> Path | None:
    """Return the file in experiments/ that is about a registered model, None where there is none.

    One that cannot be read is about none. Raises SettingsError where there are several: then none is the one.
    """
    found = [path for path in sorted(FOLDER.glob("*.y*ml")) if _model_in(path) == model_name]
    if len(found) > 1:
        raise SettingsError(f"{' and '.join(map(str, found))} are both about {model_name}; expected one")
    return found[0] if found else None


def _model_in(path: Path) -> Any:
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError):
        return None
    return content.get("model_name") if isinstance(content, dict) else None


def read(path: Path, options: set[str]) -> dict[str, Any]:
    """Return the keys of a YAML file; `options` are the command's. Raises SettingsError naming a key that is none."""
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SettingsError(f"--config {path} cannot be read: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise SettingsError(f"--config {path} is no YAML: {' '.join(str(error).split())}") from error
    if not isinstance(content, dict):
        raise SettingsError(f"--config {path} is {type(content).__name__}; expected keys such as `dataset: wine`")
    known = sorted({*options, *NESTED})
    for key in content:
        if key not in known:
            near = get_close_matches(str(key), known, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(known)}"
            raise SettingsError(f"--config {path} has the unknown key {key!r}; {hint}")
    for key in ("params", "space", "thresholds"):
        if key in content and not isinstance(content[key], dict):
            raise SettingsError(f"--config {path}: {key} is {content[key]!r}; expected a mapping of names to values")
    return content


def thresholds(texts: tuple[str, ...]) -> dict[str, float]:
    """Return METRIC=VALUE options as a mapping; a metric without test_ in front is that of the held-out rows."""
    found = {}
    for name, value in parameters(texts).items():
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise SettingsError(f"--threshold {name} is {value!r}; expected a number, such as roc_auc=0.7")
        found[name if name.startswith(("test_", "train_", "overfitting_")) else f"test_{name}"] = float(value)
    return found


def parameters(texts: tuple[str, ...]) -> dict[str, Any]:
    """Return NAME=VALUE options as a mapping; a value is read as YAML does: 2, 0.5, true, null, [1, 2], text."""
    found = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise SettingsError(f"{text!r} is no parameter; expected NAME=VALUE, such as C=2")
        try:
            found[name.strip()] = yaml.safe_load(value)
        except yaml.YAMLError as error:
            raise SettingsError(f"the value of {name} is {value!r}, which cannot be read: {error}") from error
        if re.fullmatch(r"[+-]?\d+,\d+", value.strip()):
            point = value.strip().replace(",", ".")
            raise SettingsError(
                f"the value of {name} is {value!r}; expected a decimal point, {point}, or a list, [{value}]"
            )
    return found

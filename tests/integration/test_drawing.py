"""The process that draws a training's pictures."""

import multiprocessing
import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pytest
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.calibration import CalibratedClassifierCV
from sklearn.datasets import load_iris
from sklearn.ensemble import RandomForestClassifier
from sklearn.naive_bayes import GaussianNB
from trainer import signals
from trainer.data.table import Split, Task
from trainer.errors import TrainerError
from trainer.fit.evaluation import evaluate
from trainer.fit.metric import Metric
from trainer.plots import worker
from trainer.plots.evaluation import learning_picture
from trainer.plots.worker import Drawing

from tests.integration.places import eventually, has_ended

SERVICES = str(Path(__file__).resolve().parents[2] / "services")


@pytest.fixture(scope="module")
def rows() -> Split:
    features, target = load_iris(return_X_y=True, as_frame=True)
    return Split(features[::2], features[1::2], target[::2], target[1::2])


def begin(drawing: Drawing, estimator: Any, rows: Split) -> None:
    found = evaluate(RandomForestClassifier(5).fit(rows.train_features, rows.train_target), rows, Task.CLASSIFICATION)
    drawing.begin(estimator, rows, found, Task.CLASSIFICATION, None, 0.1)


@pytest.mark.parametrize("start", ["fork", "spawn"])  # as on Linux, and as on macOS
def test_an_estimator_that_prints_while_it_is_fitted_does_not_spoil_its_pictures(
    rows: Split, start: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker, "CONTEXT", multiprocessing.get_context(start))
    forest = RandomForestClassifier(5, verbose=2).fit(rows.train_features, rows.train_target)
    with Drawing() as drawing:
        begin(drawing, forest, rows)
        pictures = drawing.pictures()
    assert set(pictures) == {"confusion_matrix.png", "curves.png", "importance.png", "learning_curve.png"}
    assert all(content.startswith(b"\x89PNG") and len(content) > 5_000 for content in pictures.values())


def test_the_learning_curve_leaves_out_sizes_that_an_estimator_cannot_be_fitted_on(rows: Split) -> None:
    # Its own folds want twelve rows of each class: the rows are in the order of the classes, so two of the sizes have fewer.
    calibrated = CalibratedClassifierCV(GaussianNB(), cv=12)
    figure = learning_picture(calibrated, rows, 75, Metric("accuracy", Task.CLASSIFICATION, (0, 1, 2)))
    assert [np.asarray(line.get_xdata()).tolist() for line in figure.axes[0].lines] == [[45, 75]] * 2


class Unwilling(ClassifierMixin, BaseEstimator):
    """A classifier that cannot predict."""

    classes_ = np.arange(3)

    def fit(self, features: Any, target: Any) -> Any:
        return self

    def predict(self, features: Any) -> None:
        raise ValueError("not today")


def test_an_estimator_that_fails_is_told_and_its_words_are_in_the_log(
    rows: Split, capfd: pytest.CaptureFixture[str]
) -> None:
    with Drawing() as drawing:
        begin(drawing, Unwilling(), rows)
        with pytest.raises(TrainerError, match="the pictures could not be drawn: their process ended with 1"):
            drawing.pictures()
    assert "ValueError: not today" in capfd.readouterr().err


class Parallel(Unwilling):
    """One that leaves processes of joblib's behind, for which multiprocessing would wait."""

    def predict(self, features: Any) -> None:
        joblib.Parallel(n_jobs=2)(joblib.delayed(abs)(number) for number in range(4))
        super().predict(features)


def test_processes_that_an_estimator_has_left_are_not_waited_for_and_end_as_well(rows: Split) -> None:
    with Drawing() as drawing:
        begin(drawing, Parallel(), rows)
        with pytest.raises(TrainerError, match="their process ended with 1"):
            drawing.pictures()
    eventually("all of its group have ended", lambda: _has_nobody(drawing._process.pid), 30)


def _has_nobody(group: int | None) -> bool:
    assert group is not None
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return True
    return False


def test_a_process_that_is_gone_is_told_when_it_is_given_something_to_draw(rows: Split) -> None:
    with Drawing() as drawing:
        drawing._process.kill()
        drawing._process.join()
        with pytest.raises(TrainerError, match="their process ended with -9"):
            begin(drawing, GaussianNB().fit(rows.train_features, rows.train_target), rows)


def test_a_signal_that_comes_while_it_is_started_ends_both(monkeypatch: pytest.MonkeyPatch) -> None:
    start, started = multiprocessing.process.BaseProcess.start, []

    def interrupted(process: Any) -> None:
        start(process)
        started.append(process)
        signal.raise_signal(signal.SIGTERM)

    monkeypatch.setattr(multiprocessing.process.BaseProcess, "start", interrupted)
    with pytest.raises(signals.Interrupted), Drawing():
        pass
    assert started[0].exitcode is not None


def test_it_ends_with_a_training_that_fails_before_anything_is_drawn() -> None:
    with Drawing() as drawing:
        process = drawing._process
    assert process.exitcode is not None


# A trainer that holds the lock on its data folder, as each does, while the pictures are drawn.
HOLDING = """
import signal, sys
from pathlib import Path
from trainer import training_lock
from trainer.plots.worker import Drawing
with training_lock.beside_others(Path(sys.argv[1]), print), Drawing() as drawing:
    print(drawing._process.pid, flush=True)
    signal.pause()
"""


@pytest.mark.parametrize("stdin", ["<&0", "<&-"])  # closed, the pipe has its number
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_it_ends_when_the_trainer_is_killed_and_holds_no_lock_meanwhile(how: Any, stdin: str, tmp_path: Path) -> None:
    environ = os.environ | {"PYTHONPATH": SERVICES}
    command = ["sh", "-c", f'exec "$@" {stdin}', "sh", sys.executable, "-c", HOLDING, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environ) as trainer:
        pid = int(trainer.stdout.readline())
        files = Path(f"/proc/{pid}/fd")
        eventually("it has nothing open of the trainer's", lambda: not _is_open(tmp_path, files), 30)
        trainer.send_signal(how)
        trainer.wait(10)
    eventually("the process that draws has ended with its trainer", lambda: has_ended(pid), 30)


def _is_open(folder: Path, files: Path) -> bool:
    found = []
    for file in files.iterdir():
        with suppress(FileNotFoundError):  # it closes them meanwhile
            found.append(file.readlink())
    return folder in found

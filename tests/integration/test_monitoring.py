"""`monitor report` and `monitor watch` on real versions, as without Docker: what was asked is kept in a folder."""

import io
import json
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from datetime import UTC, datetime
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from monitoring import command

from tests.integration.conftest import Training
from tests.integration.places import DATA, MODEL, Place, Service, eventually, free_port

YEARLY = "0 0 1 1 *"
MONITOR = [sys.executable, "-m", "monitoring"]


class Traffic:
    """A place whose first version was asked: first rows like those of its training, then flowers that are twice as large."""

    def __init__(self, place: Place) -> None:
        self.place = place
        self.settings: dict[str, Any] = {
            "PREDICTION_LOG": "1",
            "PREDICTION_LOG_DIR": str(place.folder / "spool"),
            "PREDICTION_LOG_STORE": str(place.folder / "kept"),
        }
        flowers = pd.read_csv(DATA / "iris_dataset.csv").iloc[:, :4].to_numpy()
        pick = np.random.default_rng(0).integers(0, len(flowers), 900)
        with place.inference(**self.settings) as service:
            service.answers("/ready")
            self.ask(service, flowers[pick[:600]])
            time.sleep(0.002)
            self.between = datetime.now(UTC)
            self.ask(service, 2 * flowers[pick[600:]])
        shipped = place.run(sys.executable, "-m", "inference.prediction_log.shipper", "--once", **self.settings)
        assert shipped.returncode == 0, shipped.stderr

    @staticmethod
    def ask(service: Service, rows: np.ndarray) -> None:
        for part in np.array_split(rows, 6):
            assert service.post("/predict_names", {"instances": part.tolist()}).status_code == 200

    def report(self, *arguments: str, **settings: str) -> CompletedProcess[str]:
        """Run it here: a process of its own imports for seconds."""
        environ, out, err = self.place.environ(**self.settings | settings), io.StringIO(), io.StringIO()
        with redirect_stdout(out), redirect_stderr(err):
            try:
                code = command.main(arguments, environ)
            except SystemExit as ended:  # argparse's own
                code = int(ended.code or 0)
        return CompletedProcess(arguments, code, out.getvalue(), err.getvalue())

    def keep_since(self, moment: datetime, folder: Path) -> None:
        """Write what is kept since a moment into another folder."""
        root = Path(self.settings["PREDICTION_LOG_STORE"])
        for path in root.rglob("*.parquet"):
            later = folder / path.relative_to(root)
            later.parent.mkdir(parents=True, exist_ok=True)
            kept = pq.read_table(path, partitioning=None)
            pq.write_table(kept.filter(pc.field("time") >= moment), later)

    def versions(self) -> dict[str, str]:
        """Return the run of each version."""
        return {str(one.version): one.run_id for one in self.place.client.search_model_versions(f"name = '{MODEL}'")}

    @contextmanager
    def scheduled(self, **settings: str) -> Iterator[Service]:
        """Start the schedule, which trains on drift and by a clock that is far away, and promotes nothing."""
        port = free_port()
        settings |= {"SCHEDULE_FILE": str(self.place.folder / "schedule.json"), "SCHEDULE_PORT": str(port)}
        environ = self.place.environ(TRAIN_SCHEDULE=YEARLY, TRAIN_ARGS="--no-promote", **settings)
        words = [sys.executable, "-m", "trainer", "schedule"]
        service = Service(words, environ, self.place.work, self.place.folder / "schedule.log", port)
        try:
            yield service
        finally:
            service.kill_what_is_left()

    @contextmanager
    def watched(self, **settings: str) -> Iterator[Service]:
        port = free_port()
        environ = self.place.environ(**self.settings | settings)
        words = [*MONITOR, "watch", "--host", "127.0.0.1", "--port", str(port)]
        service = Service(words, environ, self.place.work, self.place.folder / "watch.log", port)
        try:
            yield service
        finally:
            service.kill_what_is_left()


@pytest.fixture(scope="module")
def traffic(first: Training, tmp_path_factory: pytest.TempPathFactory) -> Traffic:
    return Traffic(first.place.copy(tmp_path_factory.mktemp("monitored")))


def runs(traffic: Traffic) -> list[Any]:
    client = traffic.place.client
    experiment = client.get_experiment_by_name(f"{MODEL} monitoring")
    return client.search_runs([experiment.experiment_id]) if experiment else []


def test_flowers_like_those_of_the_training_are_no_drift(traffic: Traffic) -> None:
    result = traffic.place.run(*MONITOR, "report", "--to", traffic.between.isoformat(), "--no-log", **traffic.settings)
    assert (result.returncode, runs(traffic)) == (0, []), result.stderr + result.stdout
    assert f"{MODEL}, version 1: 600 rows" in result.stdout
    assert "no drift; a shift of" in result.stdout
    assert "estimated without labels" in result.stdout


def test_larger_flowers_are_drift_which_is_a_run_at_the_versions_model_with_a_page(
    traffic: Traffic, tmp_path: Path
) -> None:
    page = tmp_path / "report.html"
    result = traffic.report(
        "--from", traffic.between.isoformat(), "--rows", "100", "--by", "petal width (cm)", "--html", str(page)
    )
    assert result.returncode == 6, result.stderr
    assert "\ndrift: " in result.stdout
    (run,) = runs(traffic)
    assert run.info.run_id in result.stderr
    client = traffic.place.client
    version = client.get_model_version(MODEL, "1")
    (model,) = client.get_run(run.info.run_id).inputs.model_inputs
    assert version.source == f"models:/{model.model_id}"
    assert (run.data.tags["model_version"], run.data.tags["drift"], run.data.metrics["rows"]) == ("1", "true", 300)
    logged = Path(client.download_artifacts(run.info.run_id, "report.html", str(tmp_path)))
    assert logged.read_text() == page.read_text()


def test_what_is_no_verdict_says_why_by_its_exit_code(traffic: Traffic) -> None:
    few = traffic.report("--from", traffic.between.isoformat(), "--no-log")
    assert (few.returncode, "each needs 200, so 100 are missing" in few.stderr) == (3, True), few.stderr
    nowhere = traffic.report(PREDICTION_LOG_STORE=str(traffic.place.folder / "nowhere"))
    assert (nowhere.returncode, "no prediction of" in nowhere.stderr) == (3, True), nowhere.stderr
    wrong = traffic.report("--by", "weight")
    assert (wrong.returncode, "--by 'weight' is no column of the version" in wrong.stderr) == (2, True), wrong.stderr
    assert traffic.report("--last", "soon").returncode == 2
    assert traffic.report("--from", "2026-01-02", "--to", "2026-01-01").returncode == 2
    gone = traffic.report("--version", "99")
    assert (gone.returncode, "has no version '99'" in gone.stderr) == (5, True), gone.stderr
    silent = traffic.report(MLFLOW_TRACKING_URI=f"http://127.0.0.1:{free_port()}")
    assert (silent.returncode, "does not answer" in silent.stderr) == (4, True), silent.stderr


def test_a_page_that_cannot_be_written_is_an_error_in_a_line_and_the_report_is_there_all_the_same(
    traffic: Traffic, tmp_path: Path
) -> None:
    result = traffic.report(
        "--to", traffic.between.isoformat(), "--no-log", "--html", str(tmp_path / "none" / "a.html")
    )
    assert (result.returncode, "no drift" in result.stdout) == (2, True)
    assert result.stderr.strip() == (
        f"monitor: --html {tmp_path}/none/a.html: No such file or directory; in a container, `--html - >FILE` writes it outside"
    )


def test_a_profile_that_was_changed_after_it_was_signed_is_no_reference(
    first: Training, traffic: Traffic, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place = first.place.copy_with_files(tmp_path / "changed")
    for profile in (place.folder / "artifacts").rglob("profile.json"):
        profile.write_text(profile.read_text().replace('"rows": 120', '"rows": 119'))
    environ = place.environ(**traffic.settings)
    assert command.main([], environ) == 5
    assert "profile.json was changed after it was verified" in capsys.readouterr().err


def test_the_service_tells_what_it_saw_and_ends_when_it_is_told(traffic: Traffic) -> None:
    with traffic.watched(MONITOR_SECONDS="1", MONITOR_ROWS="100", MONITOR_LAST="1h", MONITOR_LOG="false") as watch:
        found = eventually("it has looked", lambda: (status := watch.get("/status").json())["looked"] and status)
        assert (found["rows"], found["version"], found["problem"]) == (900, "1", None)
        told = watch.get("/metrics").text
        assert "monitor_rows 900.0" in told
        assert f"monitor_drift_detected {float(found['drift'])}" in told
        assert 'monitor_drift_psi{column="petal width (cm)"}' in told
        assert watch.get("/report").headers["Content-Type"] == "text/html; charset=utf-8"
        assert watch.get("/health").status_code == 200
        assert watch.get("/nothing").status_code == 404
        assert watch.stop() == 0


def test_the_service_says_what_is_in_its_way_and_goes_on(traffic: Traffic) -> None:
    with traffic.watched(MONITOR_SECONDS="1", MONITOR_ROWS="5000") as watch:
        found = eventually("it has looked", lambda: (status := watch.get("/status").json())["missing_rows"] and status)
        assert (found["drift"], found["looked"], found["rows"], found["missing_rows"]) == (False, None, 900, 9100)
        assert 'monitor_looks_total{result="too_few"}' in watch.get("/metrics").text
    result = traffic.place.run(*MONITOR, "watch", **traffic.settings | {"MONITOR_SECONDS": "never"})
    assert (result.returncode, json.dumps("never")[1:-1] in result.stderr) == (2, True)


def test_drift_that_the_monitor_sees_has_one_version_trained_and_the_schedule_tells_what_came_of_it(
    traffic: Traffic, tmp_path: Path
) -> None:
    before = set(traffic.versions())
    traffic.keep_since(traffic.between, tmp_path / "kept")
    header, *flowers = (DATA / "iris_dataset.csv").read_text().splitlines()
    (tmp_path / "iris_dataset.csv").write_text("\n".join([header, *flowers, *flowers[:20], ""]))
    monitored = {"PREDICTION_LOG_STORE": str(tmp_path / "kept"), "MONITOR_ROWS": "100", "MONITOR_LOG": "false"}
    with traffic.watched(MONITOR_SECONDS="1", **monitored) as watch:
        seen = eventually("it sees drift", lambda: (said := watch.get("/status").json())["drift"] and said)
        settings = {"MONITOR_URL": watch.url, "DATA_DIR": str(tmp_path)}
        with traffic.scheduled(**settings) as schedule:
            last = eventually("it has trained", lambda: schedule.get("/status").json()["last"])
            assert (last["trigger"], last["outcome"]) == ("drift", "kept"), schedule.log
            said = schedule.get("/status").json()
            assert said["drift"] == {"answers": True, "drift": True, "columns": seen["columns"]}
            assert said["next"].startswith(f"{datetime.now().year + 1}-01-01T00:00")
            assert "training, by drift" in schedule.log
            assert "training_kept_total 1.0" in schedule.get("/metrics").text
            assert schedule.stop() == 143
        # The drift is still there, and the last training less than TRAIN_MIN_HOURS ago.
        with traffic.scheduled(**settings) as schedule:
            eventually("it has asked the monitor", lambda: schedule.get("/status").json()["drift"]["drift"])
            assert schedule.stop() == 143
            assert "training, by drift" not in schedule.log
    (made,) = set(traffic.versions()) - before
    assert (made, traffic.versions()[made]) == (last["version"], last["run_id"])

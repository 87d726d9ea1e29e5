"""The life of a training run: opened, shown to be alive, closed in order, or found abandoned and tidied up."""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from threading import Event, Thread

import mlflow
from mlflow import MlflowClient
from mlflow.entities import LoggedModelStatus, Run, RunStatus
from mlflow.exceptions import MlflowException

from trainer.errors import AnswerTooLong
from trainer.tracking import registry
from trainer.tracking.answers import RUNS, every, mlflow_errors

# The workshop's experiment; any other data set has one of its own.
EXPERIMENTS = {"iris": "MLflow Workshop - Iris Classification"}
# The tag by which a run shows that its trainer lives, in seconds since 1970.
HEARTBEAT = "trainer_heartbeat"
HEARTBEAT_SECONDS = 4.0
GIVEN_UP_SECONDS = 15.0
# Clocks differ by less; whoever is further ahead is not waited for.
MOST_AHEAD_SECONDS = 60.0


def experiment_of(data_set: str) -> str:
    """Return the name of the experiment that a data set's runs are logged to."""
    return EXPERIMENTS.get(data_set, f"MLflow Stack - {data_set}")


@contextmanager
def training_run(name: str) -> Iterator[Run]:
    """Open a run that ends as FINISHED, or as FAILED where its block raises; meanwhile it shows that it is alive.

    `name` is what it is called until it has come to something.
    Opening and closing must not be interrupted (trainer.signals): what the server has opened must be known here.
    """
    with mlflow_errors(), mlflow.start_run(run_name=name, tags={HEARTBEAT: _now()}) as run, _heartbeat(run.info.run_id):
        try:
            yield run
        except BaseException:
            with suppress(MlflowException):  # where MLflow is gone, the error that brought us here says so
                list(_close_what_is_open(MlflowClient(), run))
            raise
    with suppress(MlflowException):  # it has ended, and nobody looks for its heartbeat any more
        MlflowClient().delete_tag(run.info.run_id, HEARTBEAT)


@contextmanager
def _heartbeat(run_id: str) -> Iterator[None]:
    """Renew the run's heartbeat until the block ends, so that another trainer can tell it from an abandoned one."""
    ended = Event()

    def beat() -> None:
        while not ended.wait(HEARTBEAT_SECONDS):
            try:
                MlflowClient().set_tag(run_id, HEARTBEAT, _now())
            except MlflowException:  # what the run itself does next meets the same trouble and tells it
                continue

    thread = Thread(target=beat, name="heartbeat", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def _now() -> str:
    return f"{time.time():.1f}"


def close_abandoned_runs(experiment_id: str) -> Iterator[str]:
    """Close an experiment's runs of trainers that were killed: RUNNING, but without heartbeat. Yield what was found.

    Runs whose last heartbeat is recent are watched, all together, until the next one comes or has to be given up.
    """
    try:
        yield from _closed(MlflowClient(), experiment_id)
    except AnswerTooLong as error:
        yield f"runs that were left behind are not looked for: {error}"


def _closed(client: MlflowClient, experiment_id: str) -> Iterator[str]:
    with mlflow_errors():
        watched = {}
        for run in _running(client, experiment_id):
            if (last := _last_beat(run)) is None:
                yield f"run {run.info.run_name} is left alone: its tag {HEARTBEAT} is no time of a trainer's"
            else:
                watched[run.info.run_id] = run, last
        for run in _abandoned(client, experiment_id, watched):
            yield f"run {run.info.run_name} was left behind by a trainer that was killed; it is closed as KILLED"
            yield from _close_what_is_open(client, run)
            client.set_terminated(run.info.run_id, RunStatus.to_string(RunStatus.KILLED))


def _running(client: MlflowClient, experiment_id: str) -> list[Run]:
    alive = f"attributes.status = 'RUNNING' AND tags.{HEARTBEAT} != ''"
    return list(every(client.search_runs, RUNS, experiment_ids=[experiment_id], filter_string=alive))


def _abandoned(client: MlflowClient, experiment_id: str, watched: dict[str, tuple[Run, float]]) -> Iterator[Run]:
    """Yield those of the runs that show no life for GIVEN_UP_SECONDS; never wait longer, however many there are."""
    started = time.time()
    while watched:
        now = time.time()
        silent = [key for key, (_, last) in watched.items() if now - min(last, started) >= GIVEN_UP_SECONDS]
        yield from [watched.pop(key)[0] for key in silent]
        if watched:
            time.sleep(1)
            beats = {run.info.run_id: run.data.tags.get(HEARTBEAT) for run in _running(client, experiment_id)}
            watched = {
                key: (run, last) for key, (run, last) in watched.items() if beats.get(key) == run.data.tags[HEARTBEAT]
            }


def attempts(experiment_id: str, data_sha256: str, model_name: str) -> int:
    """Return how many runs have trained this model on this data, the present one included.

    Where somebody has written more into one of them than is read, it is how many came before that one in MLflow's list.
    """
    same = f"tags.data_sha256 = '{data_sha256}' AND tags.model_name = '{model_name}'"
    count = 0
    with suppress(AnswerTooLong), mlflow_errors():
        for _ in every(MlflowClient().search_runs, RUNS, experiment_ids=[experiment_id], filter_string=same):
            count += 1
    return max(count, 1)


def finished(experiment_id: str, tags: Mapping[str, str]) -> Run | None:
    """Return the newest run that has ended well with these tags, None where there is none, or more is written into one than is read."""
    said = [f"tags.`{name}` = '{value}'" for name, value in tags.items()]
    query = " AND ".join(["attributes.status = 'FINISHED'", *said])
    with suppress(AnswerTooLong), mlflow_errors():
        return next(every(MlflowClient().search_runs, RUNS, experiment_ids=[experiment_id], filter_string=query), None)
    return None


def _last_beat(run: Run) -> float | None:
    """Return when a run last showed that its trainer lives; None for a tag that no trainer wrote: anybody can."""
    try:
        last = float(run.data.tags[HEARTBEAT])
    except ValueError:
        return None
    return last if 0 <= last <= time.time() + MOST_AHEAD_SECONDS else None


def _close_what_is_open(client: MlflowClient, run: Run) -> Iterator[str]:
    """Say on a run's models and versions how far they came, where that is not said yet. Yield it too."""
    in_run = f"source_run_id = '{run.info.run_id}'"
    for model in client.search_logged_models([run.info.experiment_id], filter_string=in_run):
        if model.status == LoggedModelStatus.PENDING:
            client.finalize_logged_model(model.model_id, LoggedModelStatus.FAILED)
            yield f"its model {model.model_id} was not complete; it is marked as FAILED"
    for version in client.search_model_versions(f"run_id = '{run.info.run_id}'"):
        if not version.description:
            yield f"its version {version.version} of {version.name} {registry.describe_interrupted(version)}"

"""What a person types for the same in the stack and without Docker."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Commands:
    """The commands that mend; {} is a version."""

    start: str
    """what migrates the database, and makes a first model"""
    train: str
    promote: str
    adopt: str
    recover: str | None
    """what goes back to the last version that has all of its files, or trains one; None where a person chooses"""
    restore: str
    """what brings files back"""
    cleanup: str
    delete_experiment: str
    """{} is its id"""
    back: str
    """to an older database"""


STACK = Commands(
    start="docker compose up -d --wait",
    train="docker compose run --rm trainer",
    promote="docker compose run --rm trainer promote {}",
    adopt="docker compose run --rm trainer adopt {}",
    recover="docker compose up -d --wait",
    restore="scripts/restore, as another project beside this one, shows what a backup has of them",
    cleanup="docker compose run --rm cleanup --yes",
    delete_experiment="docker compose exec -e MLFLOW_TRACKING_URI=http://localhost:5000 mlflow mlflow experiments delete -x {}",
    back="docker compose run --rm database back",
)
EMBEDDED = Commands(
    start=".venv/bin/mlflow db upgrade sqlite:///embedded/mlflow.db",
    train="make train",
    promote="make promote VERSION={}",
    adopt="make adopt VERSION={}",
    recover=None,
    restore="make restore, in another clone, shows what a backup has of them",
    cleanup="make cleanup ARGS=--yes",
    delete_experiment="MLFLOW_TRACKING_URI=sqlite:///embedded/mlflow.db .venv/bin/mlflow experiments delete -x {}",
    back="make restore",
)

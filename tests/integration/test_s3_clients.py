"""What MLflow keeps of its connections to the store while its server works for days."""

import gc
import importlib.util
import weakref
from types import ModuleType

import pytest
from mlflow.store.artifact import s3_artifact_repo

from tests.integration.places import ROOT


@pytest.fixture
def plugin(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The plugin as the server imports it; afterwards MLflow is as it was."""
    monkeypatch.setattr(s3_artifact_repo, "_cached_get_s3_client", s3_artifact_repo._cached_get_s3_client)
    file = ROOT / "services" / "mlflow" / "plugin" / "s3_through_server.py"
    spec = importlib.util.spec_from_file_location("s3_through_server", file)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_of_the_clients_that_the_server_makes_every_five_minutes_one_is_kept(
    plugin: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {"ACCESS_KEY_ID": "a", "SECRET_ACCESS_KEY": "b", "DEFAULT_REGION": "us-east-1"}.items():
        monkeypatch.setenv(f"AWS_{name}", value)
    clock = [0.0]
    monkeypatch.setattr(s3_artifact_repo, "_get_utcnow_timestamp", lambda: clock[0])
    store = plugin.S3ThroughServer("s3://mlflow/folder")
    made = []
    for _ in range(4):
        clock[0] += s3_artifact_repo._MAX_CACHE_SECONDS
        made.append(weakref.ref(store._s3._get_s3_client()))
        assert store._s3._get_s3_client() is made[-1]()
    gc.collect()
    assert [client() is not None for client in made] == [False, False, False, True]

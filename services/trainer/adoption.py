"""Sign a version that somebody logged by hand, after checking that it can be served."""

import mlflow
from mlflow import MlflowClient

from trainer import checks, papers, registry, signing
from trainer.settings import Settings
from trainer.terminal import Console
from trainer.tracking import mlflow_errors
from trainer.tracking_server import SIGNED_BY


def adopt(settings: Settings, version: str, console: Console) -> None:
    """Check a version of the registered model and sign it; raise VersionError saying what it lacks."""
    signing.check_key(settings.signing_key)
    mlflow.set_tracking_uri(settings.tracking_uri)
    found = registry.model_version(settings.model_name, version)
    model_id = checks.model_id_of(found)
    with checks.files_of(found) as folder:
        checks.check_identity(folder, settings.model_name)
        estimator, columns, example = checks.check_servable(folder)
        # What it answers today it has to answer wherever it is served; the rest of the papers would need its data.
        papers.write_json(folder / papers.GOLDEN, papers.golden(estimator, columns, example))
        signing.sign(folder, settings.model_name, model_id, settings.signing_key)
        with mlflow_errors():
            client = MlflowClient()
            for name in (papers.GOLDEN, signing.IDENTITY, signing.SIGNATURE):
                client.log_model_artifact(model_id, str(folder / name))
            client.set_model_version_tag(settings.model_name, version, SIGNED_BY, signing.key_id(settings.signing_key))
    console.print(
        f"Version {version} of {settings.model_name} is checked and signed; it may be served.", soft_wrap=True
    )

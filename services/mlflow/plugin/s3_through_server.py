"""S3 as MLflow's artifact proxy should offer it here: every byte passes through the server.

MLflow (since 3.14) tells its clients that an S3 store can be reached by presigned URLs, and plain clients then fetch
every file, and upload large ones, straight from the store. There is no way from them to MinIO, on purpose, and no
setting on the server that turns this off; it goes by whether the repository class has the multipart mixins. So this
one is MLflow's own without them. MLflow finds it by the entry point in the dist-info folder beside this file.
"""

from functools import lru_cache

from mlflow.entities import FileInfo
from mlflow.store.artifact import s3_artifact_repo
from mlflow.store.artifact.artifact_repo import ArtifactRepository
from mlflow.store.artifact.s3_artifact_repo import S3ArtifactRepository

# MLflow makes a client anew every five minutes and keeps the last 64, each with its connections to the store: one is enough.
s3_artifact_repo._cached_get_s3_client = lru_cache(maxsize=1)(s3_artifact_repo._cached_get_s3_client.__wrapped__)


class S3ThroughServer(ArtifactRepository):  # type: ignore[misc]  # MLflow is not looked into
    """MLflow's S3 repository, less the parts that send clients to the store directly."""

    def __init__(self, artifact_uri: str, tracking_uri: str | None = None, registry_uri: str | None = None) -> None:
        super().__init__(artifact_uri, tracking_uri, registry_uri)
        self._s3 = S3ArtifactRepository(artifact_uri, tracking_uri=tracking_uri, registry_uri=registry_uri)

    def log_artifact(self, local_file: str, artifact_path: str | None = None) -> None:
        self._s3.log_artifact(local_file, artifact_path)

    def log_artifacts(self, local_dir: str, artifact_path: str | None = None) -> None:
        self._s3.log_artifacts(local_dir, artifact_path)

    def list_artifacts(self, path: str | None = None) -> list[FileInfo]:
        found: list[FileInfo] = self._s3.list_artifacts(path)
        return found

    def delete_artifacts(self, artifact_path: str | None = None) -> None:
        self._s3.delete_artifacts(artifact_path)

    def _download_file(self, remote_file_path: str, local_path: str) -> None:
        self._s3._download_file(remote_file_path, local_path)

"""What the doctor's container may read and reach: secrets are read first, and then it becomes a user who reads none."""

import configparser
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

VOLUMES = Path("/volumes")
# A user that owns nothing: the set-up jobs' own (10005) owns secrets of the database and the bucket.
USER = 65534


@dataclass(frozen=True)
class Secrets:
    """What is needed to ask the stores; None where it is not there."""

    backend_store_uri: str | None
    database_password: str | None
    s3_key: tuple[str, str] | None
    """MLflow's own: access key, secret key"""
    s3_root: tuple[str, str] | None
    """of the stack's own MinIO; none of an external S3"""
    verifying_key: bytes | None


def read(environ: Mapping[str, str], volumes: Path = VOLUMES) -> Secrets:
    """Read what is there."""
    root = _text(volumes / "minio" / "root-password")
    is_external = _text(volumes / "bucket" / "aws-credentials") is not None
    key = _text(volumes / "inference" / "signing-key.pub")
    return Secrets(
        _text(volumes / "mlflow" / "backend-store-uri"),
        _text(volumes / "mlflow" / "database-password"),
        _aws(_text(volumes / "mlflow" / "aws-credentials")),
        (environ["MINIO_ROOT_USER"], root) if root and not is_external else None,
        key.encode() if key else None,
    )


def _text(path: Path) -> str | None:
    try:
        return path.read_text() or None
    except OSError:
        return None


def _aws(content: str | None) -> tuple[str, str] | None:
    parser = configparser.ConfigParser(interpolation=None)
    try:
        parser.read_string(content or "")
        return parser["default"]["aws_access_key_id"], parser["default"]["aws_secret_access_key"]
    except (configparser.Error, KeyError):
        return None


def become_nobody() -> None:
    """Give up what root has: whatever the network answers is read without a right to any file."""
    if os.getuid() == 0:
        os.setgroups([])
        os.setresgid(USER, USER, USER)
        os.setresuid(USER, USER, USER)

"""MLflow's bucket, versioned, and the S3 user that can do nothing outside of it.

In an external store, with the credentials that were given for it, the bucket alone: its users are its owner's matter.
"""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from tempfile import NamedTemporaryFile
from urllib.parse import urlsplit

import urllib3
from minio import Minio
from minio.commonconfig import ENABLED, Filter
from minio.credentials.providers import AWSConfigProvider, StaticProvider
from minio.error import MinioException
from minio.lifecycleconfig import Expiration, LifecycleConfig, NoncurrentVersionExpiration, Rule
from minio.minioadmin import MinioAdmin
from minio.versioningconfig import VersioningConfig

from setup.errors import SetupError
from setup.secret_files import MLFLOW_ACCESS_KEY

POLICY = "mlflow"
# The one lifecycle rule of ours; others are left alone.
RULE = "old-versions"
MOST_DAYS = 36_500
SECRETS = Path("/run/secrets")
# A store that does not answer is told within seconds: the health check said that it does.
HTTP = urllib3.PoolManager(timeout=urllib3.Timeout(connect=3, read=10), retries=urllib3.Retry(3, backoff_factor=0.2))


def run(environ: Mapping[str, str]) -> Iterator[str]:
    """Create what is missing and set the user's secret key to the one in force; yield a line per change."""
    bucket, endpoint = environ["S3_BUCKET"], urlsplit(environ["S3_ENDPOINT_URL"])
    if endpoint.scheme not in ("http", "https") or not endpoint.netloc:
        raise SetupError(f"S3_ENDPOINT_URL is {environ['S3_ENDPOINT_URL']!r}; expected http(s)://HOST[:PORT]")
    connection = {"endpoint": endpoint.netloc, "secure": endpoint.scheme == "https", "http_client": HTTP}
    external = SECRETS / "aws-credentials"
    try:
        if external.exists():
            store = Minio(**connection, credentials=AWSConfigProvider(str(external)), region=environ["S3_REGION"])
            changes = [*_ensure_bucket(store, bucket)]
        else:
            root = StaticProvider(environ["MINIO_ROOT_USER"], (SECRETS / "root-password").read_text())
            store, days = Minio(**connection, credentials=root), _days(environ["KEEP_DELETED_DAYS"])
            changes = [*_ensure_bucket(store, bucket), *_ensure_expiry(store, bucket, days)]
            admin = MinioAdmin(**connection, credentials=root)
            changes += _ensure_user(admin, bucket, (SECRETS / "mlflow-secret-key").read_text())
    except (MinioException, urllib3.exceptions.HTTPError, ValueError) as error:
        raise SetupError(f"the artifact store at {endpoint.geturl()} refuses the set-up: {error}") from error
    yield from changes or [f"bucket {bucket!r} and its user are there"]


def _ensure_bucket(store: Minio, bucket: str) -> Iterator[str]:
    if not store.bucket_exists(bucket):
        store.make_bucket(bucket)
        yield f"bucket {bucket!r} created"
    if store.get_bucket_versioning(bucket).status != ENABLED:
        # What a client overwrites or deletes through the artifact proxy can be brought back.
        store.set_bucket_versioning(bucket, VersioningConfig(ENABLED))
        yield f"bucket {bucket!r} keeps old versions of its objects"


def _days(text: str) -> int:
    if not text.isascii() or not text.isdigit() or int(text) > MOST_DAYS:
        raise SetupError(f"KEEP_DELETED_DAYS is {text!r}; expected a whole number from 0 (for ever) to {MOST_DAYS}")
    return int(text)


def _ensure_expiry(store: Minio, bucket: str, days: int) -> Iterator[str]:
    """Let old versions of objects go after some days, and what says that an object is deleted with the last; 0: never."""
    config = store.get_bucket_lifecycle(bucket)
    rules = list(config.rules) if config else []
    ours = [rule.noncurrent_version_expiration for rule in rules if rule.rule_id == RULE]
    if [found.noncurrent_days if found else None for found in ours] == ([days] if days else []):
        return
    kept = [rule for rule in rules if rule.rule_id != RULE]
    if days:
        after, markers = (
            NoncurrentVersionExpiration(noncurrent_days=days),
            Expiration(expired_object_delete_marker=True),
        )
        rule = Rule(ENABLED, Filter(prefix=""), RULE, expiration=markers, noncurrent_version_expiration=after)
        store.set_bucket_lifecycle(bucket, LifecycleConfig([*kept, rule]))
        yield f"bucket {bucket!r} keeps old versions of its objects for {days} days"
        return
    if kept:
        store.set_bucket_lifecycle(bucket, LifecycleConfig(kept))
    else:
        store.delete_bucket_lifecycle(bucket)
    yield f"bucket {bucket!r} keeps old versions of its objects for ever"


def _ensure_user(admin: MinioAdmin, bucket: str, secret_key: str) -> Iterator[str]:
    if MLFLOW_ACCESS_KEY not in json.loads(admin.user_list()):
        yield f"user {MLFLOW_ACCESS_KEY!r} created, bound to bucket {bucket!r}"
    with NamedTemporaryFile("w", suffix=".json") as file:
        json.dump(_policy(bucket), file)
        file.flush()
        admin.policy_add(POLICY, file.name)
    admin.user_add(MLFLOW_ACCESS_KEY, secret_key)
    if POLICY not in _policies_of(admin):
        admin.policy_set(POLICY, MLFLOW_ACCESS_KEY)


def _policies_of(admin: MinioAdmin) -> list[str]:
    return str(json.loads(admin.user_info(MLFLOW_ACCESS_KEY)).get("policyName", "")).split(",")


def _policy(bucket: str) -> dict[str, object]:
    """Return what MLflow's S3 user may do, in the words of AWS IAM."""
    return {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Effect": "Allow",
                "Action": ["s3:ListBucket", "s3:GetBucketLocation", "s3:ListBucketMultipartUploads"],
                "Resource": [f"arn:aws:s3:::{bucket}"],
            },
            {
                "Effect": "Allow",
                "Action": [
                    "s3:GetObject",
                    "s3:PutObject",
                    "s3:DeleteObject",
                    "s3:AbortMultipartUpload",
                    "s3:ListMultipartUploadParts",
                ],
                "Resource": [f"arn:aws:s3:::{bucket}/*"],
            },
        ],
    }

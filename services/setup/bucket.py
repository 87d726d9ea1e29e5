"""MLflow's bucket, versioned, and the S3 user that can do nothing outside of it; likewise that of the prediction log, where there is one.

In an external store, with the credentials that were given for it, the bucket alone: its users are its owner's matter.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any
from urllib.parse import urlsplit

import urllib3
from contract.settings import Reader
from minio import Minio
from minio.commonconfig import ENABLED, Filter
from minio.credentials.providers import AWSConfigProvider, StaticProvider
from minio.error import MinioAdminException, MinioException, S3Error
from minio.lifecycleconfig import Expiration, LifecycleConfig, NoncurrentVersionExpiration, Rule
from minio.minioadmin import MinioAdmin
from minio.versioningconfig import VersioningConfig

from setup.errors import SetupError
from setup.stores import MLFLOW_ACCESS_KEY, MONITOR_ACCESS_KEY, PREDICTIONS_ACCESS_KEY

# The lifecycle rules of ours, that of MLflow's bucket and those of the log's, with what they are for; others are left alone.
RULE = "old-versions"
RULES_OF_LOG = {"old-predictions": "predictions/", "old-shadow": "shadow/", "old-labels": "labels/"}
PREDICTIONS = "predictions"
# Where this is set, there is a prediction log (compose.predictions.yaml).
PREDICTION_DAYS = "PREDICTION_LOG_DAYS"
MOST_DAYS = 36_500
SECRETS = Path("/run/secrets")
# What S3 users may do with objects.
WHAT_READS = ["s3:GetObject"]
WHAT_WRITES = [
    *WHAT_READS,
    "s3:PutObject",
    "s3:DeleteObject",
    "s3:AbortMultipartUpload",
    "s3:ListMultipartUploadParts",
]
# A store that does not answer is told within seconds: the health check said that it does.
HTTP = urllib3.PoolManager(timeout=urllib3.Timeout(connect=3, read=10), retries=urllib3.Retry(3, backoff_factor=0.2))


@dataclass(frozen=True)
class Users:
    """The users of a store: who makes them, and the store as one of them sees it, by name and secret key."""

    admin: MinioAdmin
    as_user: Callable[[str, str], Minio]


def run(environ: Mapping[str, str]) -> Iterator[str]:
    """Create what is missing and set the user's secret key to the one in force; yield a line per change."""
    address = Reader(environ, SetupError).endpoint("S3_ENDPOINT_URL", "the file that S3_CREDENTIALS_FILE names")
    bucket, endpoint = environ["S3_BUCKET"], urlsplit(address)
    connection = {"endpoint": endpoint.netloc, "secure": endpoint.scheme == "https", "http_client": HTTP}
    external = SECRETS / "aws-credentials"
    try:
        if external.exists():
            store = Minio(**connection, credentials=AWSConfigProvider(str(external)), region=environ["S3_REGION"])
            changes = [*_ensure_bucket(store, bucket)]
            if PREDICTION_DAYS in environ:
                raise SetupError(
                    "compose.predictions.yaml keeps predictions in the stack's own MinIO; leave out compose.external-s3.yaml"
                )
        else:
            root = StaticProvider(environ["MINIO_ROOT_USER"], (SECRETS / "root-password").read_text())
            store, days = Minio(**connection, credentials=root), _days(environ["KEEP_DELETED_DAYS"])
            changes = [*_ensure_bucket(store, bucket), *_ensure_expiry(store, bucket, days)]
            users = Users(MinioAdmin(**connection, credentials=root), partial(_as_user, connection))
            changes += _ensure_user(users, MLFLOW_ACCESS_KEY, bucket)
            if PREDICTION_DAYS in environ:
                changes += _ensure_log(store, users, _days(environ[PREDICTION_DAYS], PREDICTION_DAYS))
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


def _as_user(connection: Mapping[str, Any], name: str, key: str) -> Minio:
    # With its region it does not ask the store for that.
    return Minio(**connection, credentials=StaticProvider(name, key), region="us-east-1")


def _ensure_log(store: Minio, users: Users, days: int) -> Iterator[str]:
    """Create what the prediction log needs: a bucket that keeps no old versions, and deletes what is older than so many days."""
    if not store.bucket_exists(PREDICTIONS):
        store.make_bucket(PREDICTIONS)
        yield f"bucket {PREDICTIONS!r} created"
    yield from _ensure_retention(store, PREDICTIONS, days)
    yield from _ensure_user(users, PREDICTIONS_ACCESS_KEY, PREDICTIONS)
    yield from _ensure_user(users, MONITOR_ACCESS_KEY, PREDICTIONS, reads_alone=True)


def _days(text: str, name: str = "KEEP_DELETED_DAYS") -> int:
    if not text.isascii() or not text.isdigit() or int(text) > MOST_DAYS:
        raise SetupError(f"{name} is {text!r}; expected a whole number from 0 (for ever) to {MOST_DAYS}")
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
        kept.append(Rule(ENABLED, Filter(prefix=""), RULE, expiration=markers, noncurrent_version_expiration=after))
    _set_rules(store, bucket, kept)
    yield f"bucket {bucket!r} keeps old versions of its objects {_told(days)}"


def _ensure_retention(store: Minio, bucket: str, days: int) -> Iterator[str]:
    """Let objects of the log go after some days, 0: never. A bucket of this name that was there before may have others in it."""
    config = store.get_bucket_lifecycle(bucket)
    rules = list(config.rules) if config else []
    ours = {rule.rule_id: _prefix_and_days(rule) for rule in rules if rule.rule_id in RULES_OF_LOG}
    if ours == ({name: (prefix, days) for name, prefix in RULES_OF_LOG.items()} if days else {}):
        return
    kept = [rule for rule in rules if rule.rule_id not in RULES_OF_LOG]
    if days:
        kept += [
            Rule(ENABLED, Filter(prefix=prefix), name, expiration=Expiration(days=days))
            for name, prefix in RULES_OF_LOG.items()
        ]
    _set_rules(store, bucket, kept)
    *others, last = RULES_OF_LOG.values()
    yield f"bucket {bucket!r} keeps what is in {', '.join(others)} and {last} {_told(days)}"


def _prefix_and_days(rule: Rule) -> tuple[str | None, int | None]:
    return rule.rule_filter and rule.rule_filter.prefix, rule.expiration and rule.expiration.days


def _told(days: int) -> str:
    return f"for {days} days" if days else "for ever"


def _set_rules(store: Minio, bucket: str, rules: list[Rule]) -> None:
    if rules:
        store.set_bucket_lifecycle(bucket, LifecycleConfig(rules))
    else:
        store.delete_bucket_lifecycle(bucket)


def _ensure_user(users: Users, name: str, bucket: str, reads_alone: bool = False) -> Iterator[str]:
    """Let a user of S3, by the policy of the same name, do what is to be done in one bucket and nothing else."""
    key, policies = (SECRETS / f"{name}-secret-key").read_text(), _policies_of(users.admin, name)
    if policies is None:
        yield f"user {name!r} created, bound to bucket {bucket!r}"
    with NamedTemporaryFile("w", suffix=".json") as file:
        json.dump(_policy(bucket, WHAT_READS if reads_alone else WHAT_WRITES), file)
        file.flush()
        users.admin.policy_add(name, file.name)
    # A key is sent encrypted, for which client and store take a tenth of a second of a core each, and more: so only where it has to be.
    if policies is None or not _is_let_in(users.as_user(name, key), bucket):
        users.admin.user_add(name, key)
    if name not in (policies or ()):
        users.admin.policy_set(name, name)


def _policies_of(admin: MinioAdmin, name: str) -> list[str] | None:
    """Return the names of a user's policies; None where there is no such user."""
    try:
        found = admin.user_info(name)
    except MinioAdminException as error:
        if "XMinioAdminNoSuchUser" not in str(error):
            raise
        return None
    return str(json.loads(found).get("policyName", "")).split(",")


def _is_let_in(store: Minio, bucket: str) -> bool:
    try:
        return bool(store.bucket_exists(bucket))
    except S3Error as error:
        if error.code != "AccessDenied":
            raise
        return False


def _policy(bucket: str, actions: list[str]) -> dict[str, object]:
    """Return what a bucket's S3 user may do, in the words of AWS IAM."""
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
                "Action": actions,
                "Resource": [f"arn:aws:s3:::{bucket}/*"],
            },
        ],
    }

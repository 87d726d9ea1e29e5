"""The rule by which old versions of objects leave MLflow's bucket, made by the set-up and beside the rules of others."""

import json
from pathlib import Path
from typing import Any

import pytest
from minio.commonconfig import ENABLED, Filter
from minio.error import MinioAdminException, S3Error
from minio.lifecycleconfig import Expiration, LifecycleConfig, Rule
from setup import bucket
from setup.errors import SetupError

THEIRS = Rule(ENABLED, Filter(prefix="tmp/"), "theirs", expiration=Expiration(days=1))


class Store:
    """A bucket's lifecycle."""

    def __init__(self, *rules: Rule) -> None:
        self.config = LifecycleConfig(list(rules)) if rules else None
        self.changes = 0

    def get_bucket_lifecycle(self, name: str) -> Any:
        return self.config

    def set_bucket_lifecycle(self, name: str, config: LifecycleConfig) -> None:
        assert config.rules
        self.config, self.changes = config, self.changes + 1

    def delete_bucket_lifecycle(self, name: str) -> None:
        self.config, self.changes = None, self.changes + 1

    def days(self) -> dict[str, int | None]:
        rules = self.config.rules if self.config else []
        return {
            str(rule.rule_id): rule.noncurrent_version_expiration and rule.noncurrent_version_expiration.noncurrent_days
            for rule in rules
        }


def said(store: Store, days: int) -> str:
    return " ".join(bucket._ensure_expiry(store, "mlflow", days))


def test_old_versions_go_after_as_many_days_as_are_set_and_for_no_more_is_a_change_made() -> None:
    store = Store()
    for days in (30, 30, 7, 7):
        words = said(store, days)
        assert store.days() == {bucket.RULE: days}
    assert (store.changes, words) == (2, "")


def test_the_rules_of_others_stay() -> None:
    store = Store(THEIRS)
    assert said(store, 30) == "bucket 'mlflow' keeps old versions of its objects for 30 days"
    assert store.days() == {"theirs": None, bucket.RULE: 30}
    assert said(store, 0) == "bucket 'mlflow' keeps old versions of its objects for ever"
    assert store.days() == {"theirs": None}


def test_for_ever_is_without_a_rule() -> None:
    store = Store()
    said(store, 30)
    said(store, 0)
    assert store.config is None
    assert said(store, 0) == ""


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("ada:hidden@s3.example", "has a name or a password before the @ in 's3.example'; they go into "),
        (
            "https://ada:hidden@s3.example",
            "has a name or a password before the @ in 'https://s3.example'; they go into ",
        ),
        ("s3.example", "is 's3.example'; expected http(s)://HOST[:PORT]"),
        ("", "is ''; expected http(s)://HOST[:PORT]"),
    ],
)
def test_an_endpoint_that_cannot_be_used_is_named_without_its_login(url: str, said: str) -> None:
    with pytest.raises(SetupError) as refused:
        [*bucket.run({"S3_BUCKET": "mlflow", "S3_ENDPOINT_URL": url})]
    assert str(refused.value) == f"S3_ENDPOINT_URL {said}{'the file that S3_CREDENTIALS_FILE names' * ('@' in url)}"


@pytest.mark.parametrize("text", ["", "-1", "1.5", "x", "99999", "٣"])
def test_no_number_of_days_is_refused(text: str) -> None:
    with pytest.raises(
        SetupError, match=r"KEEP_DELETED_DAYS is '.*'; expected a whole number from 0 \(for ever\) to 36500"
    ):
        bucket._days(text)


def test_the_prediction_logs_bucket_lets_go_of_what_is_as_old_as_is_set_and_of_others_rules_of_none() -> None:
    store = Store(THEIRS)

    def said(days: int) -> str:
        return " ".join(bucket._ensure_retention(store, "predictions", days))

    def found() -> dict[str, int]:
        return {str(rule.rule_id): rule.expiration.days for rule in store.config.rules}

    assert said(30) == "bucket 'predictions' keeps what is in predictions/, shadow/ and labels/ for 30 days"
    assert found() == {"theirs": 1, "old-predictions": 30, "old-shadow": 30, "old-labels": 30}
    assert said(30) == ""
    assert said(7) == "bucket 'predictions' keeps what is in predictions/, shadow/ and labels/ for 7 days"
    assert said(0) == "bucket 'predictions' keeps what is in predictions/, shadow/ and labels/ for ever"
    assert found() == {"theirs": 1}


@pytest.mark.parametrize("prefix", [None, "", "predictions/"])
def test_what_else_is_in_a_bucket_of_that_name_stays_also_where_a_rule_of_ours_took_it(prefix: str | None) -> None:
    ours = {"old-predictions": prefix, "old-shadow": "shadow/", "old-labels": "labels/"} if prefix is not None else {}
    store = Store(
        *(Rule(ENABLED, Filter(prefix=each), name, expiration=Expiration(days=30)) for name, each in ours.items())
    )
    list(bucket._ensure_retention(store, "predictions", 30))
    assert [rule.rule_filter.prefix for rule in store.config.rules] == ["predictions/", "shadow/", "labels/"]
    assert store.changes == (0 if prefix else 1)


class Admin:
    """The users of a store, with what the policy of the same name lets them do."""

    def __init__(self) -> None:
        self.keys: dict[str, str] = {}
        self.may: dict[str, set[str]] = {}
        self.policies: dict[str, str] = {}
        self.sent: list[str] = []
        """each user whose key was sent"""

    def policy_add(self, name: str, path: str) -> None:
        statements = json.loads(Path(path).read_text())["Statement"]
        assert {word for each in statements for word in each["Resource"]} == {
            "arn:aws:s3:::predictions",
            "arn:aws:s3:::predictions/*",
        }
        self.may[name] = {action for each in statements for action in each["Action"]}

    def user_add(self, name: str, key: str) -> None:
        self.keys[name] = key
        self.sent.append(name)

    def user_info(self, name: str) -> str:
        if name not in self.keys:
            raise MinioAdminException("404", '{"Code":"XMinioAdminNoSuchUser"}')
        return json.dumps({"policyName": self.policies.get(name, "")})

    def policy_set(self, policy: str, name: str) -> None:
        self.policies[name] = policy

    def as_user(self, name: str, key: str) -> "SeenBy":
        return SeenBy(self.keys[name] == key)


class SeenBy:
    """The store as a user sees it, whose key is in force or not."""

    def __init__(self, is_let_in: bool) -> None:
        self._is_let_in = is_let_in

    def bucket_exists(self, name: str) -> bool:
        if self._is_let_in:
            return True
        raise S3Error(None, "AccessDenied", "Access denied", name, None, None)


def test_of_the_prediction_logs_users_one_writes_and_what_asks_may_read_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for user in ("predictions", "monitor"):
        (tmp_path / f"{user}-secret-key").write_text(f"key of {user}")
    monkeypatch.setattr(bucket, "SECRETS", tmp_path)
    store, admin = Store(), Admin()
    monkeypatch.setattr(store, "bucket_exists", lambda name: True, raising=False)
    said = [*bucket._ensure_log(store, bucket.Users(admin, admin.as_user), 30)]
    assert [line for line in said if "user" in line] == [
        "user 'predictions' created, bound to bucket 'predictions'",
        "user 'monitor' created, bound to bucket 'predictions'",
    ]
    assert admin.keys == {"predictions": "key of predictions", "monitor": "key of monitor"}
    assert admin.policies == {"predictions": "predictions", "monitor": "monitor"}
    assert {"s3:GetObject", "s3:PutObject", "s3:DeleteObject"} <= admin.may["predictions"]
    assert "s3:GetObject" in admin.may["monitor"]
    assert all(action.startswith(("s3:Get", "s3:List")) for action in admin.may["monitor"])


def test_a_users_key_is_sent_again_where_it_is_another_one_than_that_in_force_and_nowhere_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bucket, "SECRETS", tmp_path)
    admin = Admin()
    for key, sent, says in (("one", 1, 1), ("one", 1, 0), ("two", 2, 0)):
        (tmp_path / "monitor-secret-key").write_text(key)
        said = [*bucket._ensure_user(bucket.Users(admin, admin.as_user), "monitor", "predictions", True)]
        assert (admin.keys, len(admin.sent), len(said)) == ({"monitor": key}, sent, says)
    admin.policies.clear()  # as somebody leaves a user
    assert [*bucket._ensure_user(bucket.Users(admin, admin.as_user), "monitor", "predictions", True)] == []
    assert admin.policies == {"monitor": "monitor"}


def test_days_of_the_prediction_log_that_are_none_are_named() -> None:
    with pytest.raises(SetupError, match=r"PREDICTION_LOG_DAYS is 'x'; expected a whole number"):
        bucket._days("x", bucket.PREDICTION_DAYS)

"""The accounts and their roles, in the tables of MLflow's own authorization, by MLflow's own code.

It works on the database, with the server or without, so no password is needed to give a new one. The server looks each account up
again within the minute (`auth_cache_ttl_seconds`).
"""

import secrets
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import sqlalchemy
from alembic.util import CommandError
from mlflow.exceptions import MlflowException
from mlflow.server.auth import auth_config
from mlflow.server.auth.entities import Role, User
from mlflow.server.auth.sqlalchemy_store import SqlAlchemyStore
from mlflow.utils.workspace_utils import DEFAULT_WORKSPACE_NAME

from accounts.errors import AccountsError
from accounts.roles import ADMIN, EDIT, EXPECTED_NAME, NAME, OF_THE_STACK, ROLES, Account

EXISTS = "RESOURCE_ALREADY_EXISTS"


class Directory:
    """MLflow's accounts."""

    def __init__(self, store: SqlAlchemyStore) -> None:
        self._store = store

    @classmethod
    def connected(cls) -> "Directory":
        """Connect to the database that MLflow's settings for its login name, bring its schema to the newest; raise AccountsError."""
        store = SqlAlchemyStore()
        try:
            # MLflow would try for minutes.
            sqlalchemy.create_engine(auth_config.database_uri).connect().close()
            store.init_db(auth_config.database_uri)
        except sqlalchemy.exc.OperationalError as error:
            raise AccountsError(
                f"the database of accounts cannot be reached ({str(error.orig).splitlines()[0]}); "
                "is the stack up, with compose.login.yaml? docker compose up --detach --wait"
            ) from error
        except CommandError as error:
            raise AccountsError(
                f"the database of accounts is newer than this MLflow ({error}); go back to the newer checkout, "
                "or restore a backup from before"
            ) from error
        return cls(store)

    def prepare(self, passwords: Path) -> Iterator[str]:
        """Make the roles as they are here, and the stack's own accounts with the passwords in that folder; yield what was done."""
        for name in ROLES:
            yield from self._ensure_role(name)
        for name, role in OF_THE_STACK.items():
            yield from self._ensure(name, role, (passwords / f"{name}-password").read_text())

    def _ensure_role(self, name: str) -> Iterator[str]:
        wanted, there = ROLES[name], {role.name: role for role in self._store.list_roles()}
        if name in there:
            role = there[name]
        else:
            role = self._store.create_role(name, DEFAULT_WORKSPACE_NAME, wanted.may)
            yield f"role {name} made"
        granted = {(grant.resource_type, grant.resource_pattern): grant for grant in role.permissions}
        grants = {(kind, "*"): permission for kind, permission in wanted.grants.items()}
        for key, grant in granted.items():
            if grants.get(key) != grant.permission:
                self._store.remove_role_permission(grant.id)
                yield f"role {name}: {grant.permission} of {' '.join(key)} is no part of it"
        for (kind, pattern), permission in grants.items():
            if (kind, pattern) not in granted or granted[kind, pattern].permission != permission:
                self._store.add_role_permission(role.id, kind, pattern, permission)

    def _ensure(self, name: str, role: str | None, password: str) -> Iterator[str]:
        if not self._store.has_user(name):
            with _said_of(name):
                self._store.create_user(name, password)
            yield f"account {name} made"
        elif not self._store.authenticate_user(name, password):
            with _said_of(name):
                self._store.update_user(name, password=password)
            yield f"account {name} has the password in force"
        self._give(name, role)

    def let_log(self, name: str, experiments: Iterable[str]) -> None:
        """Let an account log to experiments, also to those that somebody else has made; they are given by their ids."""
        for experiment in experiments:
            self._store.grant_user_permission(name, "experiment", experiment, EDIT)

    def accounts(self) -> list[Account]:
        """Return all, by name."""
        found = self._store.list_users_with_roles()
        return sorted((Account(user.username, _role(user, roles)) for user, roles in found), key=lambda one: one.name)

    def role(self, name: str) -> str | None:
        """Return the role of an account, None where it has none or is not there."""
        found = self.find(name)
        return found.role if found else None

    def find(self, name: str) -> Account | None:
        """Return one account, None where it is not there."""
        if not self._store.has_user(name):
            return None
        user = self._store.get_user(name)
        return Account(name, _role(user, self._store.list_user_roles(user.id)))

    def add(self, name: str, role: str) -> str:
        """Make an account, and return its password; raise AccountsError."""
        if not NAME.fullmatch(name):
            raise AccountsError(f"{name!r} is no name; {EXPECTED_NAME}")
        password = _random()
        try:
            self._store.create_user(name, password)
        except MlflowException as error:
            if error.error_code != EXISTS:
                raise
            raise AccountsError(
                f"{name} exists already; `accounts role {name} {role}` gives it this role, `accounts password {name}` a new password"
            ) from error
        self._give(name, role)
        return password

    def remove(self, name: str) -> None:
        self._refuse_own(name)
        self._check(name)
        self._store.delete_user(name)

    def set_role(self, name: str, role: str | None) -> None:
        self._refuse_own(name)
        self._check(name)
        self._give(name, role)

    def renew_password(self, name: str) -> str:
        """Give an account another password, and return it; raise AccountsError."""
        if name != ADMIN:
            self._refuse_own(name)
        self._check(name)
        password = _random()
        self._store.update_user(name, password=password)
        return password

    def _give(self, name: str, role: str | None) -> None:
        """Make a role the only one of an account's."""
        user = self._store.get_user(name)
        # Of each account MLflow has a role of its own, for what it has made.
        held = {one.name: one.id for one in self._store.list_user_roles(user.id) if not one.name.startswith("__user_")}
        if user.is_admin != (role == ADMIN):
            self._store.update_user(name, is_admin=role == ADMIN)
        if role in ROLES and role not in held:
            wanted = self._store.get_role_by_name(DEFAULT_WORKSPACE_NAME, role)
            self._store.assign_role_to_user(user.id, wanted.id)
        for other in held.keys() - {role}:
            self._store.unassign_role_from_user(user.id, held[other])

    def _refuse_own(self, name: str) -> None:
        if name in OF_THE_STACK:
            raise AccountsError(f"{name} is an account of the stack itself, and stays as it is")

    def _check(self, name: str) -> None:
        if not self._store.has_user(name):
            raise AccountsError(f"there is no account {name!r}; `accounts list` has them")


def experiments_of_reports(database: str) -> list[str]:
    """Return the ids of the experiments that reports go to (services/monitoring/mlflow_run.py), of MLflow's database at this address."""
    named = sqlalchemy.text("select experiment_id from experiments where name like :name")
    with sqlalchemy.create_engine(database).connect() as connection:
        return [str(found) for (found,) in connection.execute(named, {"name": "% monitoring"})]


def _random() -> str:
    return secrets.token_urlsafe(24)


def _role(user: User, roles: list[Role]) -> str | None:
    if user.is_admin:
        return ADMIN
    return next((role.name for role in roles if role.name in ROLES), None)


@contextmanager
def _said_of(name: str) -> Iterator[None]:
    """Turn what MLflow says of a password into an AccountsError."""
    try:
        yield
    except MlflowException as error:
        raise AccountsError(
            f"MLflow refuses the password of {name}: {error.message} It stands in the file that "
            f"MLFLOW_{name.upper()}_PASSWORD_FILE names"
        ) from error

"""Whom the proxy of single sign-on vouches for (compose.sso.yaml), and the account and role that they have.

oauth2-proxy has the identity provider say who somebody is and in which groups, and passes that on in headers of each request
(services/contract/publishing/sign_on.py).
"""

import hmac
import threading
from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import audit
from contract.publishing.sign_on import GROUPS, NAME, SECRET, mark, marked
from contract.settings import Reader

from accounts.errors import AccountsError
from accounts.roles import EXPECTED_NAME, OF_PEOPLE, OF_THE_STACK, VIEWER, Account
from accounts.roles import NAME as NAME_OF_AN_ACCOUNT

NOBODY = "none"


class Headers(Protocol):
    """The headers of a request; their names are found in whatever case."""

    def get(self, name: str, default: str, /) -> str:
        """Return a header, or the default."""


class Accounts(Protocol):
    """MLflow's accounts (directory.py), as far as they are needed here."""

    def find(self, name: str) -> Account | None:
        """Return one account, None where it is not there."""

    def add(self, name: str, role: str) -> str:
        """Make an account; raise AccountsError where it exists."""

    def set_role(self, name: str, role: str | None) -> None:
        """Give an account a role, or none."""


@dataclass(frozen=True)
class Rules:
    """Which role somebody gets by signing on."""

    by_group: tuple[tuple[str, str], ...]
    """group of the identity provider's and its role, the first that somebody is in counts; none: `accounts` alone gives roles"""
    default: str | None
    """the role of somebody new, and of who is in none of these groups; None: they are not let in"""

    @classmethod
    def from_env(cls, environ: Mapping[str, str]) -> "Rules":
        """Read OIDC_ROLES and OIDC_DEFAULT_ROLE; raise AccountsError."""
        default = Reader(environ, AccountsError).choice("OIDC_DEFAULT_ROLE", VIEWER, VIEWER, NOBODY)
        entries = (entry.strip() for entry in environ.get("OIDC_ROLES", "").split(","))
        return cls(tuple(_pair(entry) for entry in entries if entry), None if default == NOBODY else default)

    def role(self, groups: Collection[str]) -> tuple[str | None, str]:
        """Return the role of somebody in these groups, None where they are not let in; and why it is that."""
        found = ((role, f"in the group {group}") for group, role in self.by_group if group in groups)
        return next(found, (self.default, "by OIDC_DEFAULT_ROLE"))


def _pair(entry: str) -> tuple[str, str]:
    group, _, role = (part.strip() for part in entry.rpartition("="))
    if not group or role not in OF_PEOPLE:
        raise AccountsError(
            f"OIDC_ROLES has {entry!r}; expected GROUP=ROLE, with commas between, where ROLE is {', '.join(OF_PEOPLE)}"
        )
    return group, role


class SignOn:
    """Lets in who has signed on."""

    def __init__(self, secret: bytes, rules: Rules, accounts: Accounts) -> None:
        self._secret, self._rules, self._accounts = secret, rules, accounts
        self._mark = mark(secret)
        self._changing = threading.Lock()

    @classmethod
    def from_env(cls, environ: Mapping[str, str], accounts: Accounts) -> "SignOn | None":
        """Return None without compose.sso.yaml: then nobody's headers are believed; raise AccountsError."""
        if not (file := environ.get("SIGN_ON_SECRET_FILE")):
            return None
        return cls(Path(file).read_bytes(), Rules.from_env(environ), accounts)

    def person(self, headers: Headers) -> str | None:
        """Return the name of whom the proxy says that a request is, None where it is not the proxy that says so."""
        if not self._secret or not hmac.compare_digest(_bytes(headers, SECRET), self._secret):
            return None
        # Providers write addresses as people typed them once. Of other letters some become ASCII, and so another one's name.
        name = _text(headers, NAME)
        return (name.lower() if name.isascii() else name) if name.strip() else None

    def refusal(self, name: str, headers: Headers) -> str | None:
        """See to the account and the role of somebody who has signed on; return why they are not let in, None where they are."""
        if not NAME_OF_AN_ACCOUNT.fullmatch(name):
            return f"you have signed on as {name!r}, which is no name of an account; {EXPECTED_NAME}"
        if name in OF_THE_STACK:
            return f"{name} is an account of the stack itself, and nobody signs on as it"
        found = self._accounts.find(name)
        if found and not self._rules.by_group:
            return None
        role, why = self._rules.role(marked(_text(headers, GROUPS), self._mark))
        if role != _role(found):
            self._change(name, role, why)
        if role:
            return None
        return (
            f"you have signed on as {name}, who has no role here: an admin puts you into a group that OIDC_ROLES names, "
            f"or, where it names none, runs: docker compose run --rm accounts add {name} --role {VIEWER}"
        )

    def _change(self, name: str, role: str | None, why: str) -> None:
        """Make the account, or give it the role; a page asks for many things at once, and each of them comes here."""
        with self._changing:
            found = self._accounts.find(name)
            before = _role(found)
            if before == role:
                return
            # Another of the server's processes may be quicker, and has noted it then.
            with suppress(AccountsError):
                if found:
                    self._accounts.set_role(name, role)
                elif role:
                    self._accounts.add(name, role)
                audit.note("account", name, before, role, "single sign-on", why)


def _role(account: Account | None) -> str | None:
    return account.role if account else None


def _bytes(headers: Headers, name: str) -> bytes:
    # WSGI has bytes as characters of the same numbers.
    return headers.get(name, "").encode("latin-1", "replace")


def _text(headers: Headers, name: str) -> str:
    return _bytes(headers, name).decode(errors="replace")

"""Who may log in to MLflow: `docker compose run --rm accounts add|remove|role|list|password`."""

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import audit
import click
from contract.process.imports import quick_imports

from accounts.errors import AccountsError
from accounts.roles import ADMIN, MONITOR, OF_PEOPLE, OF_THE_STACK, ROLES

if TYPE_CHECKING:
    from accounts.directory import Directory

SECRETS = Path("/run/secrets")
ROLE = click.Choice(OF_PEOPLE)


def _directory() -> "Directory":
    """Return MLflow's accounts; MLflow, which takes seconds to import, comes when a command is known to be one."""
    if not Path(os.environ["MLFLOW_AUTH_CONFIG_PATH"]).exists():
        raise AccountsError("there are no accounts yet; this makes the first ones: docker compose up --detach --wait")
    with quick_imports():
        from accounts.directory import Directory

    return Directory.connected()


@click.group(context_settings={"max_content_width": 110})
def accounts() -> None:
    """Say who may log in to MLflow, and in which role. A change counts within a minute."""


@accounts.command()
@click.argument("name")
@click.option(
    "--role", type=ROLE, required=True, help="; ".join(f"{name}: {ROLES[name].may}" for name in OF_PEOPLE[:-1])
)
def add(name: str, role: str) -> None:
    """Make an account, and show its password once."""
    password = _directory().add(name, role)
    audit.note("account", name, None, role, "accounts add")
    click.echo(f"{name} is there, as {role}.")
    _show(password)


@accounts.command()
@click.argument("name")
def remove(name: str) -> None:
    """Take an account away; what it has logged stays."""
    directory = _directory()
    before = directory.role(name)
    directory.remove(name)
    audit.note("account", name, before, None, "accounts remove")
    click.echo(f"{name} is gone.")


@accounts.command()
@click.argument("name")
@click.argument("role", type=ROLE)
def role(name: str, role: str) -> None:
    """Give an account another role."""
    directory = _directory()
    before = directory.role(name)
    directory.set_role(name, role)
    audit.note("account", name, before, role, "accounts role")
    click.echo(f"{name} is {role} now.")


@accounts.command("list")
def show() -> None:
    """Show all accounts and their roles."""
    click.echo(f"{'ACCOUNT':<24}  ROLE")
    for account in _directory().accounts():
        own = "  (the stack's own)" if account.name in OF_THE_STACK else ""
        click.echo(f"{account.name:<24}  {account.role or '-'}{own}")


@accounts.command()
@click.argument("name")
def password(name: str) -> None:
    """Give an account a new password, and show it once; so does who has lost the one of `admin`."""
    if name == ADMIN and os.environ.get("ADMIN_PASSWORD_IS_GIVEN"):
        raise AccountsError(
            "the password of admin is in the file that MLFLOW_ADMIN_PASSWORD_FILE names; change it there, then: "
            "docker compose up --detach --wait"
        )
    directory = _directory()
    new = directory.renew_password(name)
    if name == ADMIN:
        _keep(new)
    role = directory.role(name)
    audit.note("account", name, role, role, "accounts password")
    click.echo(f"{name} has a new password.")
    _show(new)


@accounts.command(hidden=True)
def prepare() -> None:
    """Bring the accounts' tables, the roles and the stack's own accounts up to date: a job does it at each start."""
    from accounts.directory import experiments_of_reports
    from accounts.sign_on import Rules

    Rules.from_env(os.environ)  # told here, before the server reads them
    directory = _directory()
    for line in list(directory.prepare(SECRETS)) or ["all there"]:
        click.echo(f"accounts: {line}")
    # There may have been reports before there was a login.
    if database := os.environ.get("BACKEND_STORE_URI_FILE"):
        directory.let_log(MONITOR, experiments_of_reports(Path(database).read_text()))


def _keep(password: str) -> None:
    """Write the password of admin where each start puts it in force from."""
    file = SECRETS / f"{ADMIN}-password"
    draft = file.with_name(f".{file.name}.draft")
    draft.unlink(missing_ok=True)
    with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o400), "w") as stream:
        stream.write(password)
    draft.replace(file)


def _show(password: str) -> None:
    click.echo(f"The password, which is not shown again:\n\n    {password}\n")


def main() -> None:
    """Run the command; an error is one line."""
    try:
        accounts(prog_name="accounts")
    except AccountsError as error:
        click.echo(f"accounts: {error}", err=True)
        sys.exit(1)


if __name__ == "__main__":
    main()

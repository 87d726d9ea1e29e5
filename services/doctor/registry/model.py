"""The version that should be served: behind the alias, ready, and with all its files as they were signed."""

import hashlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol

from contract import limits, signature
from contract.display import first_line, quoted
from contract.errors import Refused
from contract.file_names import SIGNATURE
from contract.tracking import alias_history
from contract.tracking.artifacts import until_of
from contract.tracking.bounded_http import UNREADABLE
from contract.tracking.rest import logged_model_id

from doctor.records import FAIL, OK, WARN, NotLookedAt, Row
from doctor.registry import signed
from doctor.registry.commands import Commands
from doctor.registry.database import Database

ALIASES = "SELECT alias, version FROM registered_model_aliases WHERE name = ? ORDER BY alias"
VERSIONS = (
    "SELECT version, status, source, coalesce(storage_location, source), coalesce(run_id, '') FROM model_versions "
    "WHERE name = ? AND coalesce(current_stage, '') <> 'Deleted_Internal' ORDER BY version"
)
MODEL_STAGE = "SELECT lifecycle_stage FROM logged_models WHERE model_id = ?"
RUN_STAGE = "SELECT lifecycle_stage FROM runs WHERE run_uuid = ?"
MOVES = "SELECT key, coalesce(value, '') FROM registered_model_tags WHERE name = ? AND key LIKE ?"
READY, ACTIVE = "READY", "active"
# The alias that `promote` moves.
PRODUCTION = "Production"
# Contents are compared up to here: beyond, it would take longer than a look may.
MOST_COMPARED = 64 * limits.MB
# Of the versions to go back to, as many as a clean-up leaves.
MOST_BACK = 10


class Files(Protocol):
    """A version's files, wherever they are; the methods are those of the contract's Proxy and Folder."""

    def sizes(self, seconds: float) -> Mapping[str, int | None]:
        """Return path → bytes; raise one of UNREADABLE, or Refused."""

    def pieces(self, path: str, most: int, until: float) -> Iterator[bytes]:
        """Yield a file's content; raise one of UNREADABLE."""


@dataclass(frozen=True)
class Version:
    """A version of a registered model."""

    number: int
    status: str
    source: str
    location: str
    run: str
    """its id, empty where it has none"""


class Model:
    """A registered model, and the alias whose version is served."""

    def __init__(self, database: Database, name: str, alias: str, commands: Commands) -> None:
        self._database, self.name, self.alias, self._commands = database, name, alias, commands

    def versions(self) -> dict[int, Version]:
        found = [Version(int(row[0]), *map(str, row[1:])) for row in self._database.rows(VERSIONS, self.name)]
        return {version.number: version for version in found}

    def in_force(self) -> Version | None:
        """Return the version behind the alias, None where there is none."""
        aliases = dict(self._database.rows(ALIASES, self.name))
        return self.versions().get(int(aliases[self.alias])) if self.alias in aliases else None

    def look_at_alias(self) -> Iterator[Row]:
        """Yield the row of the alias and of its version, as far as the registry has it."""
        aliases: Mapping[str, int] = dict(self._database.rows(ALIASES, self.name))
        versions = self.versions()
        if self.alias not in aliases:
            yield self._without_alias(aliases, versions)
            return
        version = versions.get(int(aliases[self.alias]))
        if version is None:
            says = f"{self.alias} of {quoted(self.name)} points at version {aliases[self.alias]}, which is not there"
            yield Row("alias", FAIL, says, self._promote(versions))
            return
        others = {number: other for number, other in versions.items() if number != version.number}
        if version.status != READY:
            says = f"{self.alias} points at version {version.number}, which is {version.status} and not {READY}"
            yield Row("alias", FAIL, says, self._promote(others))
            return
        yield self._made_by(version, others)

    def _without_alias(self, aliases: Mapping[str, int], versions: Mapping[int, Version]) -> Row:
        what = f"no version of {quoted(self.name)} has the alias {quoted(self.alias)}"
        for other, version in aliases.items():
            if other.lower() == self.alias.lower():
                mend = self._promote({version: versions[version]} if version in versions else {})
                return Row("alias", FAIL, f"{what}; it has {quoted(other)}, and case counts", mend)
        if not versions:
            return Row("alias", FAIL, f"{what}: it has no versions", self._commands.train)
        return Row("alias", FAIL, what, self._promote(versions))

    def _promote(self, versions: Mapping[int, Version]) -> str:
        ready = [number for number, version in versions.items() if version.status == READY]
        if self.alias != PRODUCTION:
            return f"with MlflowClient: set_registered_model_alias({self.name!r}, {self.alias!r}, VERSION)"
        return self._commands.promote.format(max(ready)) if ready else self._commands.train

    def _made_by(self, version: Version, others: Mapping[int, Version]) -> Row:
        """Return the row of a version that is ready, by the logged model and the run that `mlflow gc` may take its files with."""
        model = logged_model_id(version.source)
        where = f"{self.alias} of {quoted(self.name)} is version {version.number}"
        stages = self._database.rows(MODEL_STAGE, model) if model else [(ACTIVE,)]
        if not stages:
            return Row("alias", FAIL, f"{where}, whose logged model {model} is gone", self._promote(others))
        if stages[0][0] != ACTIVE:
            return self._deleted(f"{where}, whose logged model {model}")
        if self._database.rows(RUN_STAGE, version.run) not in ([], [(ACTIVE,)]):
            return self._deleted(f"{where}, whose run {version.run}")
        return Row("alias", OK, f"{where}, which is {READY}")

    def _deleted(self, what: str) -> Row:
        return Row("alias", FAIL, f"{what} is deleted: `mlflow gc` would delete its files", self._commands.cleanup)

    def way_back(self) -> list[Version]:
        """Return the versions that `rollback` goes to, the next one first."""
        if (now := self.in_force()) is None or self.alias != PRODUCTION:
            return []
        tags = dict(self._database.rows(MOVES, self.name, f"{alias_history.TAG}%"))
        records, _ = alias_history.parsed(tags)
        moves = list(alias_history.with_those_by_others(records.values(), str(now.number)))
        versions = self.versions()
        return [versions[int(number)] for number in alias_history.earlier(moves) if int(number) in versions]

    def look_at_way_back(self, place: Callable[[str], Files], seconds: float) -> Iterator[Row]:
        """Yield the row of `rollback`: whether the versions that it goes to have their files still."""
        back = self.way_back()[:MOST_BACK]
        try:
            lost = [version for version in back if not place(version.location).sizes(seconds)]
        except (*UNREADABLE, Refused) as error:
            raise unread("the files of the versions to go back to", error) from error
        whole = [version for version in back if version not in lost]
        goes = f"rollback goes to version {whole[0].number}" if whole else "there is no version to go back to"
        if lost:
            numbers = ", ".join(str(version.number) for version in lost)
            says = f"of the versions that were in Production before, {numbers} lost all files; {goes}"
            yield Row("rollback", WARN, says, self._commands.restore)
        else:
            yield Row("rollback", OK, f"{goes}, and its files are there" if whole else f"{goes} yet")

    def look_at_files(self, place: Callable[[str], Files], key: bytes | None, seconds: float) -> Iterator[Row]:
        """Yield the row of the files: there, listed by a signature of the key in force, and as they were signed."""
        if (version := self.in_force()) is None:
            raise NotLookedAt("there is no version behind the alias")
        if key is None:
            raise NotLookedAt("the key that signatures are checked with is not there")
        try:
            yield Row("files", OK, f"version {version.number}: {compared(place(version.location), key, seconds)}")
        except Refused as error:
            yield Row("files", FAIL, f"version {version.number}: {error}", self._mend(version, str(error)))
        except UNREADABLE as error:
            raise unread(f"the files of version {version.number}", error) from error

    def _mend(self, version: Version, problem: str) -> str:
        if problem == NOT_SIGNED:
            return self._commands.adopt.format(version.number)
        if problem == GONE and self._commands.recover:
            return self._commands.recover
        others = {number: other for number, other in self.versions().items() if number != version.number}
        if others:
            return self._promote(others)
        # An equal model does not take the place of one that is only damaged.
        return f"{self._commands.train}, then {self._commands.promote.format(version.number + 1)}"


NOT_SIGNED, GONE = "it is not signed", "its files are gone"
LOGIN = 401


def unread(what: str, error: Exception) -> NotLookedAt:
    """Return what is said where MLflow does not give out something; where it asks for a login, there is none here."""
    if getattr(error, "code", None) == LOGIN:
        return NotLookedAt(f"MLflow asks for a login, so {what} cannot be read from here")
    return NotLookedAt(f"{what} cannot be read: {first_line(error)}")


def compared(source: Files, key: bytes, seconds: float) -> str:
    """Say what of a version's files is as it was signed; raise Refused where one is not, and one of UNREADABLE."""
    sizes = source.sizes(seconds)
    if not sizes:
        raise Refused(GONE)
    if SIGNATURE not in sizes:
        raise Refused(NOT_SIGNED)
    content = b"".join(source.pieces(SIGNATURE, limits.PARSED[SIGNATURE], until_of(sizes)))
    files = signature.entries(content)
    signed.check(content, key)
    if missing := sorted(set(files) - set(sizes)):
        raise Refused(f"its files {', '.join(map(quoted, missing[:3]))} are missing")
    total = sum(sizes[path] or 0 for path in files)
    if total > MOST_COMPARED:
        return f"its {len(files)} files are there, listed by a signature of the key in force; {total / 1e6:,.0f} MB are not compared"
    for path, digest in files.items():
        found = hashlib.sha256()
        for piece in source.pieces(path, MOST_COMPARED, until_of(sizes)):
            found.update(piece)
        if found.hexdigest() != digest:
            raise Refused(f"its file {quoted(path)} is not as it was signed")
    return f"its {len(files)} files are as they were signed with the key in force"

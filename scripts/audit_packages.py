"""Look for known vulnerabilities in all that is locked: `make audit`.

pip-audit looks up the Python packages of every lock, as this machine would install them, and govulncheck which vulnerable
functions of their modules MinIO and oauth2-proxy call. Both ask databases on the network. Exceptions are in scripts/tools/exceptions.toml.

Exit codes: 0 nothing is known, or something could not be looked up and nobody has asked for more; 1 something is known, or an
exception is none (any more); 2 with AUDIT_REQUIRED=1, something could not be looked up.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
LOCKS = (
    "requirements.txt",
    "services/*/requirements.txt",
    "services/packages/uv.txt",
    "benchmarks/peers/*.txt",
    "scripts/tools/requirements.txt",
)
# What is compiled here: the folder with its go.mod, and its package.
PROGRAMS = {
    "MinIO": ("services/minio", "github.com/minio/minio"),
    "oauth2-proxy": ("services/sso", "github.com/oauth2-proxy/oauth2-proxy/v7"),
}
EXCEPTIONS = ROOT / "scripts" / "tools" / "exceptions.toml"
PIP_AUDIT = (str(ROOT / "build" / "tools" / "bin" / "pip-audit"),)
GOVULNCHECK = ("go", "-C", str(ROOT / "scripts" / "tools"), "tool", "govulncheck")


@dataclass(frozen=True)
class Vulnerability:
    """One that is known of what is locked: its names, the first of them the database's own, and what it is about."""

    names: tuple[str, ...]
    about: str


@dataclass(frozen=True)
class Report:
    """What one of the databases says; where it could not be asked, `unasked` is the reason."""

    known: list[Vulnerability] = field(default_factory=list)
    unasked: str | None = None


class NotAnException(Exception):
    """An entry of the file of exceptions that is none (any more)."""


def main(pip_audit: tuple[str, ...] = PIP_AUDIT, govulncheck: tuple[str, ...] = GOVULNCHECK) -> int:
    """Ask both, say what they know, and return the exit code."""
    required = os.environ.get("AUDIT_REQUIRED") == "1"
    try:
        passed_over = exceptions(EXCEPTIONS, date.today())
    except NotAnException as error:
        _say(str(error))
        return 1
    failed = unasked = False
    reports = {"Python packages": of_python(pip_audit)}
    reports |= {f"{name}'s Go modules": of_go(govulncheck, *program) for name, program in PROGRAMS.items()}
    for what, report in reports.items():
        known = [found for found in report.known if not passed_over & set(found.names)]
        for found in known:
            _say(f"{found.about}: {', '.join(found.names)}")
        if report.unasked:
            _say(f"{what} were NOT looked up: {report.unasked}")
        elif not known:
            _say(f"{what}: no known vulnerabilities, {len(report.known)} passed over")
        failed, unasked = failed or bool(known), unasked or report.unasked is not None
    return 1 if failed else 2 if unasked and required else 0


def exceptions(path: Path, today: date) -> set[str]:
    """Return the names that are passed over today; NotAnException where an entry has no reason, no day, or has ended."""
    names = set()
    for entry in tomllib.loads(path.read_text()).get("exception", []):
        name, until = entry.get("id"), entry.get("until")
        if not (name and entry.get("reason") and type(until) is date):
            raise NotAnException(f"{path.name}: an exception has id, reason and until (a day); one has {sorted(entry)}")
        if until <= today:
            raise NotAnException(
                f"{path.name}: the exception for {name} ended on {until}: update the package, or decide anew"
            )
        names.add(name)
    return names


# --- Python --------------------------------------------------------------------------------------------------------


def locks() -> list[Path]:
    """Return every file with pinned Python packages."""
    return sorted(path for pattern in LOCKS for path in ROOT.glob(pattern))


def of_python(pip_audit: tuple[str, ...]) -> Report:
    """Ask pip-audit for all locks at once: most packages are in several of them."""
    command = [*pip_audit, "--strict", "--disable-pip", "--require-hashes", "--progress-spinner=off", "--format=json"]
    command += [f"--requirement={path}" for path in locks()]
    said = subprocess.run(command, capture_output=True, text=True)
    try:
        packages = json.loads(said.stdout)["dependencies"]
    except (ValueError, KeyError):
        return Report(unasked=_last_words(said))
    # --strict ends with these already. That it goes on doing so is not relied on: nothing looked up is not nothing known.
    skipped = [package["skip_reason"] for package in packages if "skip_reason" in package]
    if skipped or not packages:
        return Report(unasked=skipped[0] if skipped else "pip-audit looked at no package")
    return Report([found for package in packages for found in _of_package(package)])


def _of_package(package: dict[str, Any]) -> Iterator[Vulnerability]:
    pin = f"{package['name']}=={package['version']}"
    for found in package["vulns"]:
        where = [
            str(path.relative_to(ROOT))
            for path in locks()
            if re.search(rf"^{re.escape(pin)}\b", path.read_text(), re.M)
        ]
        mended = f"mended in {', '.join(found['fix_versions'])}" if found["fix_versions"] else "not mended yet"
        yield Vulnerability((found["id"], *found.get("aliases", [])), f"{pin} ({', '.join(where)}; {mended})")


# --- Go ------------------------------------------------------------------------------------------------------------


def of_go(govulncheck: tuple[str, ...], folder: str, package: str) -> Report:
    """Ask govulncheck which vulnerable functions are called from a program's source."""
    if shutil.which(govulncheck[0]) is None:
        return Report(unasked="there is no Go on this machine")
    said = subprocess.run(
        [*govulncheck, "-format=json", "-C", str(ROOT / folder), package], capture_output=True, text=True
    )
    if said.returncode:  # in this format it is 0 whatever is found
        return Report(unasked=_last_words(said))
    messages = list(_objects(said.stdout))
    if not any("config" in message for message in messages):
        return Report(unasked="govulncheck said nothing")
    names = {m["osv"]["id"]: (m["osv"]["id"], *m["osv"].get("aliases", [])) for m in messages if "osv" in m}
    called = {}
    for finding in (message["finding"] for message in messages if "finding" in message):
        frame = finding["trace"][0]
        if "function" in frame:  # the others are of modules and packages, of which nothing vulnerable is called
            mended = f"mended in {finding['fixed_version']}" if "fixed_version" in finding else "not mended yet"
            about = f"{frame['module']} {frame.get('version', '')} ({folder}/go.mod; {mended})"
            called[finding["osv"]] = Vulnerability(names[finding["osv"]], about)
    return Report(list(called.values()))


def _objects(text: str) -> Iterator[dict[str, Any]]:
    """Yield the JSON objects that stand one after the other in a text."""
    decoder = json.JSONDecoder()
    while text := text.lstrip():
        value, end = decoder.raw_decode(text)
        yield value
        text = text[end:]


def _last_words(said: subprocess.CompletedProcess[str]) -> str:
    """Return the last line that a program said of why it ended."""
    lines = [line.strip() for line in said.stderr.splitlines() if line.strip()]
    return lines[-1] if lines else f"{Path(said.args[0]).name} ended with exit code {said.returncode} and said nothing"


def _say(line: str) -> None:
    print(f"audit: {line}")


if __name__ == "__main__":
    sys.exit(main())

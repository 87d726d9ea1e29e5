"""Install what a hashed lock names into the environment of the Python that runs this: install_packages.py LOCK.

uv does in ten seconds what takes pip a minute or two. pip brings uv itself, by its hashes in requirements.txt. What pip's settings
say of where packages come from is passed on to uv, which does not read them; where uv fails all the same, pip does it.
"""

import ast
import os
import re
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

REQUIREMENTS = Path(__file__).resolve().parent.parent / "requirements.txt"
PIP = [sys.executable, "-m", "pip", "--disable-pip-version-check"]
HASHED = ["--no-deps", "--require-hashes", "--only-binary", ":all:", "--quiet", "--requirement"]
# pip's setting → the variable by which uv learns it, and what stands between several values there.
VARIABLES = {
    "index-url": ("UV_DEFAULT_INDEX", " "),
    "extra-index-url": ("UV_INDEX", " "),
    "find-links": ("UV_FIND_LINKS", ","),
    "no-index": ("UV_NO_INDEX", " "),
    "trusted-host": ("UV_INSECURE_HOST", " "),
    "cert": ("SSL_CERT_FILE", " "),
    "client-cert": ("SSL_CLIENT_CERT", " "),
    "proxy": ("ALL_PROXY", " "),
}


def settings(said: str) -> dict[str, str]:
    """Return pip's settings, name → value, of what `pip config list` says: those of the command over all, the environment's over both."""
    found = {}
    for section in ("global", "install", ":env:"):
        for name, value in re.findall(rf"^{section}\.([\w-]+)=(.*)$", said, re.MULTILINE):
            found[name] = str(ast.literal_eval(value))
    return found


def variables(found: dict[str, str]) -> dict[str, str]:
    """Return the variables that tell uv where packages come from, as pip's settings do."""
    known = {VARIABLES[name]: value.split() for name, value in found.items() if name in VARIABLES}
    return {variable: separator.join(values) for (variable, separator), values in known.items() if values}


def lock_of(package: str, lock: str) -> str:
    """Return the lines of one package in a hashed lock."""
    return "".join(re.findall(rf"^{package}==(?:.*\\\n)*.*\n", lock, re.MULTILINE))


def install(lock: str) -> None:
    """Install what a lock names; raises CalledProcessError where neither uv nor pip can."""
    with TemporaryDirectory() as folder:
        of_uv = Path(folder, "uv.txt")
        of_uv.write_text(lock_of("uv", REQUIREMENTS.read_text()))
        subprocess.run([*PIP, "install", "--progress-bar", "off", *HASHED, str(of_uv)], check=True)
    said = subprocess.run([*PIP, "config", "list"], check=True, capture_output=True, text=True).stdout
    uv = [str(Path(sys.executable).with_name("uv")), "pip", "install", "--python", sys.executable]
    # The hashes say what is wanted, whichever index has it.
    result = subprocess.run(
        [*uv, "--index-strategy", "unsafe-best-match", *HASHED, lock], env=os.environ | variables(settings(said))
    )
    if result.returncode:
        print("uv could not, and says why above; pip goes on, which takes a minute or two", file=sys.stderr, flush=True)
        subprocess.run([*PIP, "install", "--progress-bar", "off", *HASHED, lock], check=True)


if __name__ == "__main__":
    try:
        install(sys.argv[1])
    except subprocess.CalledProcessError as error:
        sys.exit(error.returncode)

"""Install what a hashed lock names: install.py LOCK [PYTHON], into the environment of that Python, by default the one that runs this.

uv does in ten seconds what takes pip a minute or two. pip brings uv itself, by its hashes in uv.txt. What pip's settings say of where
packages come from is passed on to uv, which does not read them; where uv fails all the same, pip does it.
"""

import ast
import os
import re
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

UV = Path(__file__).resolve().with_name("uv.txt")
PIP = [sys.executable, "-m", "pip", "--disable-pip-version-check"]
HASHED = ["--no-deps", "--require-hashes", "--only-binary", ":all:", "--quiet", "--requirement"]
# pip compiles whatever is there, which takes a minute; Python compiles what is imported.
BY_PIP = ["install", "--no-compile", "--progress-bar", "off", "--root-user-action", "ignore"]
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


def install(lock: str, python: str) -> None:
    """Install what a lock names; raises CalledProcessError where neither uv nor pip can."""
    with TemporaryDirectory() as folder:
        subprocess.run([*PIP, *BY_PIP, "--target", folder, *HASHED, str(UV)], check=True)
        said = subprocess.run([*PIP, "config", "list"], check=True, capture_output=True, text=True).stdout
        # The hashes say what is wanted, whichever index has it.
        command = [f"{folder}/bin/uv", "pip", "install", "--python", python, "--index-strategy", "unsafe-best-match"]
        result = subprocess.run([*command, *HASHED, lock], env=os.environ | variables(settings(said)))
    if result.returncode:
        print("uv could not, and says why above; pip goes on, which takes a minute or two", file=sys.stderr, flush=True)
        subprocess.run([*PIP, "--python", python, *BY_PIP, *HASHED, lock], check=True)


if __name__ == "__main__":
    try:
        install(sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else sys.executable)
    except subprocess.CalledProcessError as error:
        sys.exit(error.returncode)

"""Passwords that somebody guesses: empty ones, short ones, known words. No row shows one."""

import re
from collections.abc import Iterator
from pathlib import Path

from setup.secret_files import (
    SECRETS,
    SECRETS_OF_LOG,
    SECRETS_OF_MONITORING,
    SECRETS_WITH_LOGIN,
    SECRETS_WITH_SIGN_ON,
    Secret,
)
from setup.signing_key import public_key_of

from doctor.records import FAIL, WARN, Row

ALL = SECRETS + SECRETS_WITH_LOGIN + SECRETS_WITH_SIGN_ON + SECRETS_OF_LOG + SECRETS_OF_MONITORING
LEAST_LENGTH, LEAST_DIFFERENT = 12, 5
# What is made of these, with fewer letters around them than a word has.
KNOWN = (
    *("password", "passwort", "passwd", "pass", "secret", "changeme", "change", "letmein", "welcome", "default", "example"),
    *("qwerty", "qwertz", "asdf", "abc", "test", "demo", "admin", "root", "user", "postgres", "minio", "mlflow", "docker"),
)  # fmt: skip
LEAST_OTHERS = 4
LOOKALIKES = str.maketrans("0134578@$!", "oleastbasi")
SECRETS_AGAIN, UP = "docker compose run --rm secrets", "docker compose up -d --wait"
REMOVE = "docker compose run --rm --no-deps --entrypoint=rm secrets"


def look(volumes: Path, is_open: bool) -> Iterator[Row]:
    """Yield a row for each secret that is as good as none; `is_open` where other machines reach what it opens."""
    for secret in ALL:
        contents = {file: (volumes / file).read_text(errors="replace") for file in _there(volumes, secret)}
        empty = [file for file, content in contents.items() if not content.strip()]
        for file in empty:
            again = len(empty) < len(contents)  # it is copied from there
            yield Row("secrets", FAIL, f"{file} is empty", SECRETS_AGAIN if again else _another(secret))
        value = next((content.strip() for content in contents.values() if content.strip()), None)
        why = None if value is None else weakness(secret, value)
        if why is not None:
            is_key = secret.setting == "SIGNING_KEY"
            says = f"{secret.setting} ({next(iter(contents))}) {why}"
            yield Row("secrets", FAIL if is_open or is_key else WARN, says, _another(secret))


def _there(volumes: Path, secret: Secret) -> list[str]:
    """Return the files of a secret that are there: an overlay's are not, where nobody has it."""
    return [file for file in secret.files if (volumes / file).is_file()]


def weakness(secret: Secret, value: str) -> str | None:
    """Return what is wrong with a value, None where nothing is."""
    if secret.setting == "SIGNING_KEY":
        try:
            public_key_of(value)
        except ValueError:
            return "is no key that models can be signed with"
        return None
    if len(value) < LEAST_LENGTH:
        return f"is shorter than {LEAST_LENGTH} characters"
    if len(set(value)) < LEAST_DIFFERENT:
        return f"has fewer than {LEAST_DIFFERENT} different characters"
    if _is_known(value) or _is_known(value.translate(LOOKALIKES)):
        return "is a word that is tried first, with little around it"
    return None


def _is_known(value: str) -> bool:
    letters = re.sub(r"[\W\d_]", "", value.lower())
    others = re.sub("|".join(sorted(KNOWN, key=len, reverse=True)), "", letters)
    return len(others) < LEAST_OTHERS and others != letters


def _another(secret: Secret) -> str:
    """Return what puts a random one in the place of a secret."""
    files = " ".join(f"/volumes/{file}" for file in secret.files)
    if secret.setting == "SIGNING_KEY":
        return f"SIGNING_KEY_FILE=FILE in .env, with the key of before, which backups have, then {SECRETS_AGAIN}"
    may_be_given = secret in SECRETS or secret.setting == "MLFLOW_ADMIN_PASSWORD"
    given = f"{secret.setting}_FILE out of .env; " if may_be_given else ""
    if secret.setting == "BACKUP_PASSWORD":
        another = "BACKUP_REPOSITORY=ANOTHER_PLACE in .env, as the old password opens the old backups"
        return f"{given}{another}; {REMOVE} -f {files}; {SECRETS_AGAIN}; docker compose run --rm backup"
    return f"{given}docker compose down; {REMOVE} -f {files}; {UP}"

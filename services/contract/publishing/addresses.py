"""The addresses under which people and programs reach a service that is published.

compose.yaml puts several of them into one variable, with blanks between: PUBLIC_URL, where a proxy with HTTPS is, and the published
port of each name in PUBLIC_HOST. An address may have a list of names with commas between, and "*." before them stands for the
service: `https://*.a.example,b.example` is https://mlflow.a.example and https://mlflow.b.example to MLflow.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

PORTS = {"http": "80", "https": "443"}
_NAME = r"\[[0-9a-f:.]+\]|[a-z0-9_.-]+"
_ADDRESS = re.compile(rf"(https?)://(\*\.)?((?:{_NAME})(?:,(?:{_NAME}))*),?(?::(\d{{1,5}}))?(/\S*)?", re.I)


@dataclass(frozen=True)
class Address:
    """Where a service is reached."""

    origin: str
    """as a browser writes it: without the port that the scheme has anyway"""
    host: str
    """the name alone, IPv6 in brackets"""
    path: str = ""

    @property
    def url(self) -> str:
        return self.origin + self.path

    @property
    def netloc(self) -> str:
        """What clients write into Host."""
        return self.origin.partition("://")[2]


def addresses(name: str, value: str, service: str, error: type[Exception]) -> list[Address]:
    """Return the addresses that a variable has, the one for links first; raise `error` where one cannot be."""
    words = re.sub(r"\s*,\s*", ",", value).split()
    return [address for word in words for address in _of(name, word, service, error)]


def _of(name: str, word: str, service: str, error: type[Exception]) -> Iterator[Address]:
    if not (found := _ADDRESS.fullmatch(word)):
        raise error(
            f"{name} has {word!r}; expected http://NAME:PORT or https://NAME; in the stack, it is made of PUBLIC_URL and PUBLIC_HOST"
        )
    scheme, star, names, port, path = found.groups()
    scheme, end = scheme.lower(), "" if port in (None, PORTS[scheme.lower()]) else f":{port}"
    for host in names.lower().split(","):
        host = f"{service}.{host}" if star else host
        yield Address(f"{scheme}://{host}{end}", host, (path or "").rstrip("/"))


def check(environ: Mapping[str, str], error: type[Exception]) -> None:
    """Raise `error` where PUBLIC_HOST or PUBLIC_URL, which addresses are made of, cannot be used."""
    for host in (part.strip() for part in environ.get("PUBLIC_HOST", "").split(",")):
        if host and not re.fullmatch(_NAME, host, re.I):
            raise error(
                f"PUBLIC_HOST has {host!r}; expected names without scheme and port, separated by commas, "
                "such as models.example.com,10.0.0.5"
            )
    url = environ.get("PUBLIC_URL", "").strip()
    found = _ADDRESS.fullmatch(url)
    if url and not (found and found[2] and not (found[5] or "").strip("/") and "," not in found[3]):
        raise error(
            f"PUBLIC_URL is {url!r}; expected https://*.example.com, in which * stands for mlflow, models and minio"
        )

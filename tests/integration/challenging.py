"""Clients of a service while a version challenges Production, and what it tells of that."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import groupby
from typing import Any

import requests

from tests.integration.places import Service, eventually

KEYS = [f"customer-{number}" for number in range(60)]
CLIENTS = 3


class Client(threading.Thread):
    """Asks again and again, at a steady pace, each time as another customer; notes who was answered by whom."""

    def __init__(self, url: str, body: dict[str, Any]) -> None:
        super().__init__(daemon=True)
        self.url, self.body, self.stop = url, body, threading.Event()
        self.answers: list[tuple[str, int, str]] = []

    def run(self) -> None:
        with requests.Session() as session:
            while not self.stop.is_set():
                for key in KEYS:
                    headers = {"X-Split-Key": key}
                    answer = session.post(f"{self.url}/invocations", json=self.body, headers=headers, timeout=30)
                    self.answers.append((key, answer.status_code, answer.headers["X-Model-Version"]))
                    self.stop.wait(0.01)

    def turns(self, key: str) -> list[str]:
        """Return the versions that have answered a customer, one after the other."""
        return [version for version, _ in groupby(version for name, _, version in self.answers if name == key)]


@contextmanager
def load(service: Service, body: dict[str, Any]) -> Iterator[list[Client]]:
    """Have clients ask from the beginning of the block to its end."""
    clients = [Client(service.url, body) for _ in range(CLIENTS)]
    for client in clients:
        client.start()
    try:
        yield clients
    finally:
        for client in clients:
            client.stop.set()
            client.join()


def go_round(clients: list[Client]) -> None:
    """Wait until each client has asked as each customer once more."""
    seen = [len(client.answers) for client in clients]
    eventually("all go on", lambda: all(len(c.answers) > n + len(KEYS) for c, n in zip(clients, seen, strict=True)))


def told(service: Service) -> dict[str, Any]:
    """Return what the service says of its challenger."""
    found: dict[str, Any] = service.get("/version").json().get("challenger", {})
    return found


def is_sent_away(service: Service) -> None:
    """Wait until the challenger is sent away, in all workers: in all that answer twenty requests in a row."""
    eventually("it is sent away", lambda: told(service).get("returned"))
    eventually("by all workers", lambda: all(told(service).get("mode") == "shadow" for _ in range(20)))

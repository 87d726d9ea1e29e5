#!/usr/bin/env python3
"""Send a week of made-up traffic in minutes: iris flowers, a ruler that slips on day five, and labels that come a day late.

    python examples/live_traffic.py [http://localhost:1235] [--day 30] [--requests 300] [--seed 42] [--only 7]

Needs only `requests`, and data/iris_dataset.csv. Each day takes `--day` seconds, and has as many requests of one flower. Until day four, flowers are
like those that the model was trained on. From day five on, the petals are measured 1 cm too long: the model goes on answering, and is wrong more
often. What each flower really was is known a day later, and sent to `POST /labels`. With `--only` it is that day alone, and its labels at its end.
All of it needs the prediction log (docs/prediction-log.md); docs/monitoring.md walks through what is then seen.

Without an address it is that of the stack in this repository. Where the service asks for an API key, API_KEY has one that may send labels.
The exit code is 0 when every request was answered and every label was taken, else 1.
"""

import argparse
import csv
import os
import random
import sys
import time
import uuid
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import requests
from predict_test import url_of_the_stack

DATA = Path(__file__).resolve().parent.parent / "data" / "iris_dataset.csv"
DAYS, SLIPS_ON = 7, 5
PETAL_LENGTH, TOO_LONG = 2, 1.0
"""which measurement is wrong, and by how many centimetres"""
HEADING = "day  began (UTC)                   asked  right   labels sent"
JITTER = 0.05
"""what two people who measure one flower differ by, in centimetres"""


@dataclass
class Day:
    """What was asked on one day, and what was answered."""

    number: int
    began: datetime
    ids: list[str] = field(default_factory=list)
    truths: list[str] = field(default_factory=list)
    answers: list[str] = field(default_factory=list)

    @property
    def moment(self) -> str:
        """When it began, in ISO 8601, to the millisecond: what came before is of the day before."""
        return f"{self.began:%FT%T}.{self.began.microsecond // 1000:03}Z"

    @property
    def accuracy(self) -> float:
        """The share of the answers that were right, from 0 to 1."""
        return sum(map(str.__eq__, self.truths, self.answers)) / len(self.truths)


class Service:
    """The prediction service, over one connection."""

    def __init__(self, url: str) -> None:
        self.url, self.session = url, requests.Session()
        if "API_KEY" in os.environ:
            self.session.headers["Authorization"] = f"Bearer {os.environ['API_KEY']}"

    def post(self, path: str, body: dict[str, Any], **headers: str) -> dict[str, Any]:
        """Return an answer's JSON; raise HTTPError with what the service said where it refuses."""
        answer = self.session.post(self.url + path, json=body, headers=headers, timeout=30)
        if answer.status_code != 200:
            raise requests.HTTPError(f"POST {path} answered {answer.status_code}: {answer.text.strip()[:500]}")
        return answer.json()


def main(url: str, given: argparse.Namespace) -> int:
    chance = random.Random(given.seed)  # noqa: S311 - of flowers
    what = f"Day {given.only}" if given.only else "A week"
    print(f"{what}, {given.requests} requests a day, to {url}; each day takes {given.day:g} s.\n")
    try:
        if given.only:
            day_alone(Service(url), given.only, given.day, given.requests, chance)
        else:
            advise(week(Service(url), given.day, given.requests, chance))
    except (requests.RequestException, KeyError) as error:
        print(f"\n{what} ended early: {type(error).__name__}: {error}", file=sys.stderr)
        return 1
    return 0


def advise(days: list[Day]) -> None:
    """Print the commands that look at a week."""
    print("\nAs it was, and as it is since the ruler slipped:\n")
    for window in (f"--from {days[0].moment} --to {days[SLIPS_ON - 1].moment}", f"--from {days[SLIPS_ON - 1].moment}"):
        print(f"    docker compose run --rm monitor report {window}")


def day_alone(service: Service, number: int, seconds: float, count: int, chance: random.Random) -> Day:
    """Live through one day, with its labels at its end; return what was asked."""
    print(HEADING)
    day = lived(service, number, seconds, count, read(DATA), chance)
    tell(day, 0)
    print(f"   {'':>48}{send_labels(service, day)} (of day {number})", flush=True)
    return day


def week(service: Service, seconds: float, count: int, chance: random.Random) -> list[Day]:
    """Live through a week, the labels of each day on the day after it; return what was asked."""
    flowers, days = read(DATA), list[Day]()
    print(HEADING)
    for number in range(1, DAYS + 1):
        days.append(lived(service, number, seconds, count, flowers, chance))
        tell(days[-1], send_labels(service, days[-2]) if number > 1 else 0)
    print(f"  8{'':>48}{send_labels(service, days[-1])} (of day {DAYS})", flush=True)
    return days


def read(path: Path) -> list[tuple[list[float], str]]:
    """Return (measurements in centimetres, species) of each flower."""
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.reader(file))[1:]
    return [([float(cell) for cell in row[:4]], row[-1]) for row in rows]


def lived(
    service: Service,
    number: int,
    seconds: float,
    count: int,
    flowers: list[tuple[list[float], str]],
    chance: random.Random,
) -> Day:
    """Ask about the flowers of one day, spread over its time."""
    day, started = Day(number, datetime.now(UTC)), time.monotonic()
    for position in range(count):
        time.sleep(max(0.0, started + seconds * position / count - time.monotonic()))
        measured, species = chance.choice(flowers)
        row = [max(0.1, round(cell + chance.gauss(0, JITTER), 1)) for cell in measured]
        if number >= SLIPS_ON:
            row[PETAL_LENGTH] = round(row[PETAL_LENGTH] + TOO_LONG, 1)
        day.ids.append(f"day-{number}-{uuid.uuid4()}")
        day.truths.append(species)
        answer = service.post("/predict_names", {"instances": [row]}, **{"X-Request-ID": day.ids[-1]})
        day.answers.append(answer["predictions"][0])
    time.sleep(max(0.0, started + seconds - time.monotonic()))
    return day


def send_labels(service: Service, day: Day) -> int:
    """Say what the flowers of a day really were; return how many labels were sent."""
    labels = [{"request_id": name, "row": 0, "label": label} for name, label in zip(day.ids, day.truths, strict=True)]
    service.post("/labels", {"labels": labels})
    return len(labels)


def tell(day: Day, late: int) -> None:
    sent = f"{late} (of day {day.number - 1})" if late else "-"
    slip = "   the ruler slips" if day.number == SLIPS_ON else ""
    print(f"{day.number:>3}  {day.moment}    {len(day.ids):>7}  {day.accuracy:>5.1%}   {sent}{slip}", flush=True)


def options(arguments: list[str]) -> argparse.Namespace:
    """Return the options; end with exit code 2 where one is wrong."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument(
        "url", nargs="?", help="of the prediction service; default: that of the stack in this repository"
    )
    parser.add_argument("--day", type=float, default=30, metavar="SECONDS", help="how long a day takes; default: 30")
    parser.add_argument("--requests", type=int, default=300, help="of each day; default: 300")
    parser.add_argument("--seed", type=int, default=42, help="of chance; default: 42")
    parser.add_argument(
        "--only", type=int, metavar="N", choices=range(1, DAYS + 1), help=f"one day alone, from 1 to {DAYS}"
    )
    given = parser.parse_args(arguments)
    if given.day < 0 or given.requests < 1:
        parser.error(f"--day is {given.day:g} and --requests {given.requests}; expected at least 0 and 1")
    return given


if __name__ == "__main__":
    given = options(sys.argv[1:])
    sys.exit(main(given.url or url_of_the_stack(), given))

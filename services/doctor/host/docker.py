"""Docker, asked with patience: each command ends by itself."""

import json
import subprocess
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from contract.publishing.addresses import Address, addresses

from doctor.records import NotLookedAt

ROOT = Path(__file__).resolve().parents[3]
# Where a service is told its addresses, and what it is called in front of a "*." in one.
ADDRESSES = {
    "mlflow": ("MLFLOW_PUBLIC_URL", "mlflow"),
    "inference": ("INFERENCE_PUBLIC_URL", "models"),
}
PROJECT, SERVICE, ONE_OFF, HASH = (
    f"com.docker.compose.{name}" for name in ("project", "service", "oneoff", "config-hash")
)


class Failed(NotLookedAt):
    """A docker command failed, or there is none; the message is its own last line."""


def docker(*arguments: str, seconds: float, with_stderr: bool = False) -> str:
    """Return what docker prints; raise Failed."""
    try:
        result = subprocess.run(
            ["docker", *arguments],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT if with_stderr else subprocess.PIPE,
            text=True,
            timeout=seconds,
            stdin=subprocess.DEVNULL,
        )
    except FileNotFoundError as error:
        raise Failed("there is no docker command") from error
    except subprocess.TimeoutExpired as error:
        raise Failed(f"`docker {arguments[0]}` did not answer within {seconds:g} s") from error
    if result.returncode:
        lines = [line for line in (result.stderr or result.stdout).splitlines() if line.strip()]
        raise Failed(lines[-1].strip() if lines else f"`docker {arguments[0]}` ended with {result.returncode}")
    return result.stdout


@dataclass(frozen=True)
class Stack:
    """What the compose files ask for, with .env and the environment, and what is there of it."""

    config: Mapping[str, Any]
    """`docker compose config`, of all profiles"""
    containers: tuple[Mapping[str, Any], ...]
    """`docker inspect` of those that `up` has made"""
    hashes: Mapping[str, str] = field(default_factory=dict)
    """service → what Compose tells by that a container is of these settings"""

    @property
    def name(self) -> str:
        return str(self.config["name"])

    @property
    def services(self) -> Mapping[str, Mapping[str, Any]]:
        """The services that `up` starts, or has started: of a profile those that are there."""
        found: Mapping[str, Mapping[str, Any]] = self.config["services"]
        return {
            name: service
            for name, service in found.items()
            if service.get("scale", 1) != 0 and (not service.get("profiles") or self.of(name))
        }

    def setting(self, service: str, name: str) -> str:
        """Return a variable of a service's environment, empty where it has none."""
        return str(self.config["services"].get(service, {}).get("environment", {}).get(name) or "")

    def of(self, service: str) -> list[Mapping[str, Any]]:
        """Return a service's containers."""
        return [found for found in self.containers if found["Config"]["Labels"].get(SERVICE) == service]

    @property
    def up(self) -> str:
        """The command that starts all of it, with the profiles of what somebody has started."""
        profiles = dict.fromkeys(
            profile for service in self.services.values() for profile in service.get("profiles", [])
        )
        return " ".join(["docker compose", *(f"--profile {profile}" for profile in profiles), "up -d --wait"])

    def addresses(self, service: str) -> list[Address]:
        """Return where people reach MLflow or the prediction service; raise NotLookedAt where a setting cannot be used."""
        setting, called = ADDRESSES[service]
        return addresses(setting, self.setting(service, setting), called, NotLookedAt)

    @property
    def edge_addresses(self) -> list[tuple[str, Address]]:
        """Each service that the edge serves, with a name of it; raise NotLookedAt where a setting cannot be used."""
        called = {site: service for service, (_, site) in ADDRESSES.items()}
        sites = [site.strip() for site in self.setting("edge", "EDGE_SITES").split(",")]
        url = self.setting("edge", "EDGE_URL")
        return [
            (called[site], found)
            for site in sites
            if site in called
            for found in addresses("EDGE_URL", url, site, NotLookedAt)
        ]

    @property
    def has_login(self) -> bool:
        """Whether MLflow asks for a login."""
        return self.setting("mlflow", "LOGIN") == "on"


def stack(seconds: float) -> Stack:
    """Return what the compose files ask for, and the containers of it; raise Failed where they, or .env, cannot be read."""
    config = ("compose", "--profile", "*", "config")
    with ThreadPoolExecutor() as pool:
        digests = pool.submit(docker, *config, "--hash", "*", seconds=seconds)
        asked = json.loads(docker(*config, "--format", "json", seconds=seconds))
        label = ("--filter", f"label={PROJECT}={asked['name']}", "--filter", f"label={ONE_OFF}=False")
        ids = docker("ps", "--all", "--quiet", *label, seconds=seconds).split()
        containers = json.loads(docker("inspect", *ids, seconds=seconds)) if ids else []
        lines = digests.result().splitlines()
    return Stack(asked, tuple(containers), dict(words for line in lines if len(words := line.split()) == 2))

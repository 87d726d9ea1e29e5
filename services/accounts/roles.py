"""Who may do what: each role's grants in MLflow, and the rules that MLflow's grants have no words for.

MLflow lets every account make experiments and registered models, and whoever may edit a registered model may move each of its
aliases. So the rules come first: a request that they refuse never reaches the grants. docs/login.md has both as one table.
"""

import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

ADMIN, VIEWER, SCIENTIST, PROMOTER, TRAINER = "admin", "viewer", "scientist", "promoter", "trainer"
MONITOR = "monitor"
# The alias by which somebody asks for a review of a version; nothing is served by it.
CANDIDATE = "candidate"
ALIAS = "registered-models/alias"
FILES = "artifacts/<path:artifact_path>"
# The files of a run, below its experiment's; those of a logged model are in EXPERIMENT/models/MODEL.
OF_A_RUN = re.compile(r"\d+/[0-9a-f]{32}/artifacts/[^%\\]+")

TAGGING = frozenset(
    f"{of}/{what}" for of in ("registered-models", "model-versions") for what in ("create", "set-tag", "delete-tag")
)
# What the trainer and its reviewer have to tell of a version or a registered model, and read again: which key signed it, how its
# review went, how it came into Production. They are the stack's own word only where nobody else writes them.
TAGS_OF_THE_STACK = frozenset(
    {"signed_by", "stage", "review", "review_reason", "review_time", "reviews_begun", "challenge"}
)
RECORDS = ("move.", "challenge.", "reviews.")

READ, EDIT, MANAGE = "READ", "EDIT", "MANAGE"
# What is told of a model and its versions. Nobody but an admin gives another name to a model, or takes it apart.
DESCRIBING = frozenset(
    {
        "registered-models/update",
        "registered-models/set-tag",
        "registered-models/delete-tag",
        "model-versions/update",
        "model-versions/set-tag",
    }
)
# What a report takes (services/monitoring/mlflow_run.py).
REPORTING = frozenset(
    {
        "experiments/create",
        "runs/create",
        "runs/log-inputs",
        "runs/log-batch",
        "runs/update",
        FILES,
    }
)
FOR_ADMINS = frozenset({"registered-models/rename", "registered-models/delete", "model-versions/delete"})
# MLflow's gateway sends requests of others to addresses that they choose, with the headers and the credentials that came along.
OF_ADMINS = ("users/", "roles/", "gateway/")
OWN_PASSWORD = "users/update-password"  # noqa: S105 - a route; MLflow lets it change one's own alone, and asks for the old one
# What asks in the body of a POST, and changes nothing.
ASKING = frozenset(
    {
        "graphql",
        "experiments/search",
        "experiments/search-datasets",
        "runs/search",
        "logged-models/search",
        "registered-models/get-latest-versions",
        "datasets/search",
        "issues/search",
        "prompt-optimization/jobs/search",
        "traces/search",
        "traces/batchGetInfos",
        "traces/metrics",
        "traces/calculate-filter-correlation",
    }
)
READING = frozenset({"GET", "HEAD", "OPTIONS"})

# In a header names are text without colons, and MLflow takes only ASCII for it.
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@+-]{0,63}")
EXPECTED_NAME = "expected up to 64 letters, digits and any of . _ @ + -"


@dataclass(frozen=True)
class Account:
    """Who may log in."""

    name: str
    role: str | None
    """None for one without, or with one that is none of ours"""


@dataclass(frozen=True)
class Role:
    """What an account may do that has it."""

    may: str
    """as MLflow shows it"""
    grants: Mapping[str, str]
    """kind of thing → MLflow's permission on all of them; what is part of an experiment follows it"""
    routes: frozenset[str] | None
    """what it may use beside what reads, as far as its grants allow it; None: everything that is not for admins"""
    aliases: frozenset[str] | None
    """which it may set and take away; None: any"""
    tags_of_the_stack: bool = False
    """whether it may write and take away those"""
    files_of_models: bool = True
    """whether it may write files of logged models, where its grants let it; else it writes those of runs alone"""


def _models(of_models: str, of_versions: str) -> dict[str, str]:
    # A prompt is a registered model with a tag that anybody may set who may edit it: it must not change what its name is worth.
    return {
        "registered_model": of_models,
        "registered_model_version": of_versions,
        "prompt": of_models,
        "prompt_version": of_versions,
    }


# To take an alias away MLflow wants MANAGE of the model. What that would allow beside it, its versions' EDIT and the rules refuse.
ROLES = {
    VIEWER: Role("read", {"experiment": READ, **_models(READ, READ)}, frozenset(), frozenset()),
    SCIENTIST: Role(
        "train, log, register versions and ask for their review",
        {"experiment": EDIT, **_models(MANAGE, EDIT)},
        None,
        frozenset({CANDIDATE}),
    ),
    PROMOTER: Role(
        "read, describe versions, and say which of them is in Production",
        {"experiment": READ, **_models(MANAGE, EDIT)},
        DESCRIBING | {ALIAS},
        None,
    ),
    TRAINER: Role(
        "what the stack's own trainer does: train, register, promote",
        {"experiment": EDIT, **_models(MANAGE, EDIT)},
        None,
        None,
        tags_of_the_stack=True,
    ),
    # It logs to experiments that it has made, which MLflow lets it. To link a run to a model, MLflow wants EDIT of that.
    MONITOR: Role(
        "read, and log reports to an experiment of its own",
        {"experiment": READ, "logged_model": EDIT, **_models(READ, READ)},
        REPORTING,
        frozenset(),
        files_of_models=False,
    ),
}
# Those of the stack itself, and the role of each; their passwords are in files of the secrets job. Who has no role may ask whether
# the server is well, and sees nothing.
OF_THE_STACK: dict[str, str | None] = {
    ADMIN: ADMIN,
    "trainer": TRAINER,
    "inference": VIEWER,
    "monitor": MONITOR,
    "healthcheck": None,
}
# Those that a person may have.
OF_PEOPLE = (VIEWER, SCIENTIST, PROMOTER, ADMIN)


def refusal(held: Collection[str], method: str, route: str, names: Callable[[], list[str]]) -> str | None:
    """Say why accounts with these roles may not make a request, None where MLflow's grants decide.

    `route` is what Flask matched, without the prefixes of MLflow's APIs, or else the path; `names` reads which alias, tags or file the
    request is about.
    """
    if method in READING or route in ASKING or route == OWN_PASSWORD:
        return None
    roles = [ROLES[name] for name in held if name in ROLES]
    who = " and ".join(sorted(name for name in held if name in ROLES)) or "account without a role"
    if route in FOR_ADMINS or route.startswith(OF_ADMINS):
        return "only an admin may do this"
    if not any(role.routes is None or route in role.routes for role in roles):
        return f"a {who} may not do this; an admin gives roles: docker compose run --rm accounts role NAME ROLE"
    if route == ALIAS:
        return _refused_alias(roles, who, names())
    if route == FILES and not any(role.files_of_models for role in roles) and not all(map(_is_of_a_run, names())):
        return f"a {who} may write files of runs alone"
    if route in TAGGING and not any(role.tags_of_the_stack for role in roles):
        found = next((tag for tag in names() if is_of_the_stack(tag)), None)
        return found and f"a {who} may not write or take away the tag {found!r}, which the trainer alone keeps"
    return None


def _is_of_a_run(path: str) -> bool:
    return OF_A_RUN.fullmatch(path) is not None and ".." not in path.split("/")


def _refused_alias(roles: Collection[Role], who: str, names: list[str]) -> str | None:
    """Say that an alias may not be set or taken away by any of the roles, None where one of them may."""
    for alias in names:
        if not any(role.aliases is None or alias in role.aliases for role in roles):
            return (
                f"a {who} may not set or take away the alias {alias!r}: set {CANDIDATE!r}, which asks for a review, "
                "or ask a promoter"
            )
    return None


def is_of_the_stack(tag: str) -> bool:
    """Tell whether a tag of a version or a registered model is one that the trainer and its reviewer alone write."""
    return tag in TAGS_OF_THE_STACK or tag.startswith(RECORDS)

"""The rules beside MLflow's grants: what each role may ask for at all."""

import pytest
from accounts.roles import ASKING, FILES, OF_PEOPLE, ROLES, TAGGING, refusal
from contract.tracking import alias_history
from contract.tracking.rest import SIGNED_BY
from trainer.tracking import candidates, registry


def refused(route: str, *held: str, method: str = "POST", alias: str = "Production") -> str | None:
    return refusal(held, method, route, lambda: [alias])


def refused_tags(
    *tags: str, held: tuple[str, ...] = ("scientist",), route: str = "model-versions/create"
) -> str | None:
    return refusal(held, "POST", route, lambda: list(tags))


@pytest.mark.parametrize("held", [(), ("viewer",), ("made in the UI",), ("__user_3__",)])
def test_who_has_no_role_that_writes_reads_alone_whatever_the_route_is_called(held: tuple[str, ...]) -> None:
    for route in (
        "runs/create",
        "experiments/create",
        "of-a-later-mlflow/create",
        "",
        "artifacts/<path:artifact_path>",
    ):
        for method in ("POST", "PUT", "PATCH", "DELETE"):
            assert refused(route, *held, method=method)
    for route in ASKING:
        assert refused(route, *held) is None
    assert refused("registered-models/alias", *held, method="GET") is None


def test_of_several_roles_each_counts() -> None:
    assert refused("registered-models/alias", "viewer", "scientist")
    assert refused("runs/create", "promoter")
    assert refused("registered-models/alias", "scientist", "promoter") is None
    assert refused("runs/create", "scientist", "promoter") is None


def test_a_refusal_names_the_role_and_the_way_out() -> None:
    assert refused("registered-models/alias", "scientist") == (
        "a scientist may not set or take away the alias 'Production': set 'candidate', which asks for a review, "
        "or ask a promoter"
    )
    assert "accounts role NAME ROLE" in str(refused("runs/create"))
    assert refused("roles/create", "promoter") == "only an admin may do this"


@pytest.mark.parametrize("alias", ["Candidate", "candidate ", "", "production", "Production"])
def test_a_scientist_sets_no_alias_but_the_one_that_asks_for_a_review(alias: str) -> None:
    assert refused("registered-models/alias", "scientist", alias=alias)
    assert refused("registered-models/alias", "scientist", alias="candidate") is None


RUN = f"1/{'0' * 32}/artifacts"


@pytest.mark.parametrize(
    ("path", "may"),
    [
        (f"{RUN}/report.html", True),
        (f"{RUN}/pictures/a b.png", True),
        ("1/models/m-1/artifacts/MLmodel", False),
        ("1/traces/tr-1/artifacts/traces.json", False),
        (f"{RUN}/../../models/m-1/artifacts/MLmodel", False),
        (f"{RUN}/..%2f../models/m-1/artifacts/MLmodel", False),
        (f"{RUN}/..\\..\\models\\m-1\\artifacts\\MLmodel", False),
        ("", False),
    ],
)
def test_the_monitor_writes_files_of_runs_and_of_no_model(path: str, may: bool) -> None:
    said = refusal({"monitor"}, "PUT", FILES, lambda: [path])
    assert said == (None if may else "a monitor may write files of runs alone")
    assert refusal({"scientist"}, "PUT", FILES, lambda: [path]) is None
    assert refusal({"monitor", "scientist"}, "PUT", FILES, lambda: [path]) is None


def test_each_role_of_people_is_one_of_the_table_or_admin() -> None:
    assert {*ROLES, "admin"} == {*OF_PEOPLE, "trainer", "monitor"}


@pytest.mark.parametrize("route", sorted(TAGGING))
@pytest.mark.parametrize(
    "tag",
    [
        SIGNED_BY,
        registry.STAGE,
        candidates.OUTCOME,
        candidates.REASON,
        candidates.TIME,
        candidates.BEGUN,
        f"{alias_history.TAG}20260101T000000.1",
    ],
)
def test_what_the_trainer_reads_back_from_tags_nobody_else_writes_or_takes_away(tag: str, route: str) -> None:
    assert refused_tags("t", tag, route=route) == (
        f"a scientist may not write or take away the tag {tag!r}, which the trainer alone keeps"
    )
    assert refused_tags("t", tag, held=("scientist", "trainer"), route=route) is None


def test_tags_of_ones_own_and_the_one_that_says_who_asks_for_a_review_are_free() -> None:
    assert refused_tags("t", candidates.ASKED_BY, "algorithm", "moved", "reviewer", "mlflow.prompt.is_prompt") is None
    assert refused_tags(registry.STAGE, held=("promoter",), route="model-versions/set-tag")
    # of a run they are no word of the stack's
    assert refused_tags(registry.STAGE, route="runs/set-tag") is None

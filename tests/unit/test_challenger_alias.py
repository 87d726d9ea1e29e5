"""The alias `challenger`, followed for all workers among fakes: what its tag may say, and what becomes of one that is bad."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from contract import signature
from contract.mlmodel import manifest
from contract.mlmodel.manifest import Description
from contract.tracking.challenge import OVER, TAG, Challenge
from contract.version_files import VersionFiles
from inference.errors import NoModel, RegistryUnreachable, refusing
from inference.ipc.messages import (
    Load,
    Loaded,
    Refused,
    Report,
    Returned,
    Serve,
    Serving,
    State,
    Stop,
    ToWorker,
    place_of,
)
from inference.ipc.server import Answer
from inference.model.version import ModelVersion
from inference.rollout.challenger.eligibility import PROBLEM, RETURNED, ChallengerRegistry, Eligibility, Returns
from inference.rollout.challenger.poller import ChallengerPoller, ChallengerRollout
from inference.rollout.polling.deployer import Deployer
from inference.rollout.polling.sources import Sources
from inference.rollout.two_phase import Rollout
from inference.telemetry.metrics import ChallengerMetrics
from setup.signing_key import new_private_key, public_key_of

from tests.unit.version_files import Files, set_inputs

NOW = datetime.now(UTC)
THREE, FOUR, FIVE = (ModelVersion("flowers", number, "", int(number), f"m-{number}", "") for number in "345")
NOTHING = NoModel("no version has the alias")
GONE = RegistryUnreachable("MLflow does not answer")


def challenge(percent: float = 10, days: float = 1) -> Challenge:
    return Challenge(percent, "one", NOW.isoformat(), (NOW + timedelta(days=days)).isoformat())


def with_tag(version: ModelVersion, text: str) -> ModelVersion:
    return replace(version, tags={**version.tags, TAG: text})


# --- what its tag may say --------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def key(tmp_path_factory: pytest.TempPathFactory) -> Path:
    private = tmp_path_factory.mktemp("keys") / "key.pem"
    private.write_text(new_private_key())
    private.with_suffix(".pub").write_text(public_key_of(private.read_text()))
    return private


def signed(version: ModelVersion, found: Challenge, key: Path) -> str:
    content = found.signed_bytes(version.name, version.version, version.model_id)
    return found.with_signature(signature.sign_text(content, key)).text


def eligibility(key: Path | None, folder: Path) -> Eligibility:
    def check(content: bytes, text: str) -> None:
        assert key is not None
        with refusing():
            signature.verify_text(content, text, key.with_suffix(".pub"))

    return Eligibility(check if key else None, Returns(folder, "flowers"))


def test_a_share_that_the_key_s_holder_gave_counts(key: Path, tmp_path: Path) -> None:
    text = signed(FOUR, challenge(), key)
    assert len(text) < 400
    assert eligibility(key, tmp_path).of(with_tag(FOUR, text)).tags == {TAG: text}


def test_a_share_that_somebody_wrote_by_hand_or_gave_another_version_does_not(key: Path, tmp_path: Path) -> None:
    right = signed(FOUR, challenge(), key)
    for version, text in (
        (FOUR, challenge().text),
        (FOUR, right.replace('"percent":10', '"percent":50')),
        (FIVE, right),
        (FOUR, "10 %"),
        (FOUR, "[" * 300),
        (FOUR, right.replace('"percent":10', '"percent":NaN')),
    ):
        found = eligibility(key, tmp_path).of(with_tag(version, text))
        assert TAG not in found.tags, text
        assert found.tags[PROBLEM]


def test_by_how_much_it_has_to_be_better_is_signed_as_well_and_what_was_signed_without_counts_still(
    key: Path, tmp_path: Path
) -> None:
    text = signed(FOUR, replace(challenge(), auto=0.1), key)
    assert len(text) < 400
    assert eligibility(key, tmp_path).of(with_tag(FOUR, text)).tags == {TAG: text}
    assert "auto" not in signed(FOUR, challenge(), key)
    for other in (
        text.replace('"auto":0.1', '"auto":0.0'),
        text.replace(',"auto":0.1', ""),
        signed(FOUR, challenge(), key).replace('"percent"', '"auto":0,"percent"'),
    ):
        assert TAG not in eligibility(key, tmp_path).of(with_tag(FOUR, other)).tags, other


@pytest.mark.parametrize("auto", [-0.1, "0", True, float("inf"), float("nan")])
def test_no_margin_is_below_nothing_or_none_at_all_even_where_it_is_signed(
    key: Path, tmp_path: Path, auto: Any
) -> None:
    found = eligibility(key, tmp_path).of(with_tag(FOUR, signed(FOUR, replace(challenge(), auto=auto), key)))
    assert TAG not in found.tags


@pytest.mark.parametrize("percent", [50.1, -1, "10", True])
def test_no_share_is_larger_than_production_s_even_where_it_is_signed(key: Path, tmp_path: Path, percent: Any) -> None:
    found = eligibility(key, tmp_path).of(with_tag(FOUR, signed(FOUR, challenge(percent), key)))
    assert TAG not in found.tags


def test_where_no_signature_is_asked_for_none_is_needed_and_a_share_that_is_over_is_none(tmp_path: Path) -> None:
    assert TAG in eligibility(None, tmp_path).of(with_tag(FOUR, challenge().text)).tags
    assert eligibility(None, tmp_path).of(with_tag(FOUR, OVER)).tags == {}
    late = eligibility(None, tmp_path).of(with_tag(FOUR, challenge(days=-1).text))
    assert late.tags == {PROBLEM: "its time is over"}


def test_whoever_was_sent_away_stays_away_after_a_start_and_in_replicas_with_the_same_cache(tmp_path: Path) -> None:
    first, second = eligibility(None, tmp_path), eligibility(None, tmp_path)
    first.returns.add(FOUR, "it fails\x1b[31m")
    for one in (first, second, eligibility(None, tmp_path)):
        found = one.of(replace(with_tag(FOUR, challenge().text), tags={TAG: challenge().text, "algorithm": "forest"}))
        assert set(found.tags) == {"algorithm", RETURNED}
        assert "\x1b" not in found.tags[RETURNED]
    assert TAG in second.of(with_tag(FIVE, challenge().text)).tags


def test_nobody_is_said_to_be_sent_away_by_the_registry_s_tags(tmp_path: Path) -> None:
    said = {RETURNED: "so I say", PROBLEM: "so I say, too"}
    assert eligibility(None, tmp_path).of(replace(FOUR, tags=said)).tags == {}


@pytest.mark.parametrize("text", [OVER, "no JSON", challenge().text, challenge(days=-1).text])
def test_who_is_looked_at_twice_may_do_the_same_and_has_the_same_problem(tmp_path: Path, text: str) -> None:
    once = eligibility(None, tmp_path).of(with_tag(FOUR, text))
    assert eligibility(None, tmp_path).still(once).tags == once.tags
    assert bool(once.tags) == (text != OVER)


def test_who_is_sent_away_between_two_looks_stays_away(tmp_path: Path) -> None:
    looked_up = eligibility(None, tmp_path).of(with_tag(FOUR, challenge().text))
    Returns(tmp_path, "flowers").add(FOUR, "it fails")
    assert eligibility(None, tmp_path).still(looked_up).tags == {RETURNED: "it fails"}


# --- what becomes of it ----------------------------------------------------------------------------------------------


class Cache:
    """Holds what was fetched."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.last: tuple[ModelVersion, dict[str, float]] | None = None

    def folder_of(self, version: ModelVersion) -> Path:
        folder = self._folder / version.version
        if not folder.exists():
            folder.mkdir()
            Files(folder)
        return folder

    def forget(self, version: ModelVersion) -> None:
        """Keep it: nothing here is damaged."""

    def forget_last(self) -> None:
        self.last = None

    def remember(self, version: ModelVersion, metrics: dict[str, float]) -> None:
        self.last = version, metrics

    def last_served(self) -> tuple[ModelVersion, dict[str, float]] | None:
        return self.last


class Workers:
    """A worker that loads and serves what it is told to, but for `refused`."""

    def __init__(self) -> None:
        self.heard: list[str] = []
        self.states: list[State] = []
        self.refused: set[str] = set()

    def ask(self, question: Load | Serve, seconds: float) -> list[Answer]:
        name, number = question.deployment, question.spec.version.version
        assert name == place_of("flowers")
        self.heard.append(f"{question.phase} {number}")
        if isinstance(question, Serve):
            return [Serving(name, question.spec.id, 0)]
        if number in self.refused:
            return [Refused(name, question.spec.id, "load", "it is broken")]
        return [Loaded(name, question.spec.id)]

    def remind(self, question: Serve) -> int:
        return 0

    def tell(self, message: ToWorker) -> None:
        if isinstance(message, Stop):
            self.heard.append("stop")
        if isinstance(message, Report):
            self.states.append(message.state)


class Scene:
    """The poller of a challenger among fakes; Production is at version 3."""

    def __init__(self, folder: Path) -> None:
        self.answer: ModelVersion | Exception = NOTHING
        self.workers, self.cache, self.notes = Workers(), Cache(folder), folder / "notes"
        self.champion = Rollout("flowers", self.workers, self.cache.folder_of)
        self.champion.expect(self._check(self.cache.folder_of(THREE), THREE)[1])
        self.start()

    def start(self) -> None:
        eligibility = Eligibility(None, Returns(self.notes, "flowers"))
        registry: Any = SimpleNamespace(current=self._current, metrics=lambda run_id: {}, location=None, deleted=None)
        store: Any = SimpleNamespace(fingerprint=lambda version: None, loss=lambda version, files: None)
        trials: Any = SimpleNamespace(
            left_behind=lambda: None, begin=lambda version: None, end=lambda survived=True: None
        )
        sources = Sources(ChallengerRegistry(registry, eligibility), self.cache, store, self._check)
        rollout = ChallengerRollout(self.champion, self.workers, self.cache.folder_of, eligibility)
        self.metrics = ChallengerMetrics()
        deployer = Deployer(sources, rollout, trials, self.metrics, lambda swap: None)
        self.poller = ChallengerPoller(sources, rollout, deployer, self.metrics)

    def _current(self) -> ModelVersion:
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer

    def _check(self, folder: Path, version: ModelVersion) -> tuple[VersionFiles, Description]:
        files = VersionFiles.of(folder)
        return files, manifest.read(files)

    def look(self, answer: ModelVersion | Exception | None = None) -> None:
        self.answer = answer or self.answer
        self.poller.look()

    @property
    def state(self) -> State:
        return self.workers.states[-1]


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    return Scene(tmp_path)


def test_without_the_alias_there_is_no_challenger_and_nothing_is_wrong_with_that(scene: Scene) -> None:
    scene.look(NOTHING)
    assert (scene.state, scene.workers.heard) == (State(None), [])
    assert scene.poller.pace > 1  # it is looked for the more seldom
    scene.look(FOUR)
    assert scene.poller.pace == 1


def test_a_version_with_the_alias_is_loaded_and_what_its_tag_says_is_passed_on(scene: Scene) -> None:
    scene.look(with_tag(FOUR, challenge().text))
    assert scene.workers.heard == ["load 4", "serve 4"]
    assert scene.state.version.tags == {TAG: challenge().text}
    scene.look(with_tag(FOUR, challenge(20).text))
    assert scene.state.version.tags == {TAG: challenge(20).text}
    scene.look(with_tag(FOUR, OVER))
    assert scene.state.version.tags == {}
    assert scene.workers.heard == ["load 4", "serve 4"]


def test_when_the_alias_is_taken_away_workers_let_go_of_it_and_a_start_brings_none_back(scene: Scene) -> None:
    scene.look(FOUR)
    scene.look(NOTHING)
    assert (scene.workers.heard[-1], scene.cache.last) == ("stop", None)
    scene.start()
    scene.look(GONE)
    assert scene.workers.heard[-1] == "stop"


def test_when_the_alias_moves_the_one_before_is_let_go_of_first_whatever_becomes_of_the_next(scene: Scene) -> None:
    scene.look(FOUR)
    scene.workers.refused.add("5")
    scene.look(FIVE)
    assert scene.workers.heard == ["load 4", "serve 4", "stop", "load 5"]
    assert "version 5 of flowers is refused: it is broken" in scene.state.problem
    assert scene.state.version is None


def test_metrics_have_it_before_an_answer_says_what_is_wrong(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    order: list[tuple[str, str | None]] = []
    tell = scene.workers.tell

    def told(message: ToWorker) -> None:
        if isinstance(message, Report):
            order.append(("answers", message.state.problem))
        tell(message)

    monkeypatch.setattr(scene.workers, "tell", told)
    monkeypatch.setattr(scene.metrics, "report", lambda version, problem, *_: order.append(("metrics", problem)))
    scene.workers.refused.add("5")
    scene.look(FIVE)
    assert [who for who, problem in order if problem] == ["metrics", "answers"]


def test_one_that_takes_no_request_of_production_s_is_refused(scene: Scene) -> None:
    Files(scene.cache.folder_of(FOUR)).describe(set_inputs({"name": "another", "type": "double", "required": True}))
    scene.look(FOUR)
    assert scene.workers.heard == []
    assert "that would break requests that Production answers" in scene.state.problem


def test_while_mlflow_is_gone_it_goes_on_and_after_a_start_as_well(scene: Scene) -> None:
    scene.look(with_tag(FOUR, challenge().text))
    scene.look(GONE)
    assert scene.workers.heard == ["load 4", "serve 4"]
    scene.start()
    scene.look(GONE)
    assert scene.workers.heard == ["load 4", "serve 4"] * 2
    assert scene.state.version.tags == {TAG: challenge().text}


def test_whom_one_worker_sends_away_all_do_at_once_and_after_a_start(scene: Scene) -> None:
    scene.look(with_tag(FOUR, challenge().text))
    scene.poller.returned(Returned(place_of("flowers"), FOUR, "it fails"))
    assert scene.state.version.tags == {RETURNED: "it fails"}
    scene.look(with_tag(FOUR, challenge(50).text))
    assert scene.state.version.tags == {RETURNED: "it fails"}
    scene.start()
    scene.look(GONE)
    assert scene.state.version.tags == {RETURNED: "it fails"}

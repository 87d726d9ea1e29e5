"""What comes back from the sandbox is a stranger's word until its shape is checked."""

import json
from pathlib import Path
from typing import Any

import pytest
from contract import limits
from contract.errors import Refused
from trainer.adoption import adopt, examination, sandbox
from trainer.adoption.adopt import MADE, TAKEN, check_files, check_names
from trainer.adoption.findings import Findings
from trainer.adoption.sandbox import Unconfined
from trainer.errors import TrainerError
from trainer.settings import Settings

FILES = ["MLmodel", "model.skops", "input_example.json", "registered_model_meta", *MADE]
INPUTS = json.dumps([{"type": "double", "name": "a", "required": True}])
GOLDEN = {"instances": [[1.0], [None]], "predictions": [0, 1], "probabilities": [[0.9, 0.1], [0.2, 0.8]]}
ONNX = {
    "kept": True,
    "reason": "proven on 9 rows",
    "input": "float32",
    "limit": 1e6,
    "rows": 9,
    "labels_differ": 0,
    "scale": 1.0,
    "largest_difference": 1e-7,
    "classes": [0, 1],
}
ANSWER = {
    "estimator": "model.skops",
    "example": "input_example.json",
    "sha256": {"model.skops": "00", "input_example.json": "11", "evil.py": "22"},
    "kept": {"run_id": "r-1", "model_size_bytes": 3, "type_hint_from_example": False},
    "sklearn_version": "1.7",
    "signature": {"inputs": INPUTS, "outputs": None},
    "class_names": ["short", "long"],
    "golden": GOLDEN,
    "onnx": ONNX,
}


def test_an_answer_names_two_files_with_their_digests_and_no_more() -> None:
    assert Findings.of(ANSWER, FILES).sha256 == {"model.skops": "00", "input_example.json": "11"}


def deep(levels: int) -> list[Any]:
    return [deep(levels - 1)] if levels else []


def signature(inputs: object = INPUTS, outputs: object = None) -> dict[str, Any]:
    texts = [one if isinstance(one, str | None) else json.dumps(one) for one in (inputs, outputs)]
    return {"signature": dict(zip(("inputs", "outputs"), texts, strict=True))}


def tensor(**spec: object) -> list[Any]:
    return [{"type": "tensor", "tensor-spec": {"dtype": "float64", "shape": [-1], **spec}}]


OTHER = {
    "no golden samples": [{"golden": one} for one in ("text", 3, None, {}, GOLDEN | {"instances": []})],
    "other golden samples": [
        *({"golden": GOLDEN | {"instances": one}} for one in ([[1.0]] * 17, [1.0, 2.0], [[{}], [1]], [[[1]], [1]])),
        *({"golden": GOLDEN | {"predictions": one}} for one in ([0], [0, float("nan")], [0, deep(3)], [0, 10**30])),
        *({"golden": GOLDEN | {"probabilities": one}} for one in ([[0.5]], "x", [[0.5], {"a": 1}])),
    ],
    "no digests": [{"sha256": one} for one in ({}, None, {"model.skops": 3, "input_example.json": "11"})],
    "other files": [
        *({"estimator": one} for one in ("../signing-key.pem", None, "evil.py")),
        {"example": ["input_example.json"]},
    ],
    "more of an MLmodel": [
        *({"kept": one} for one in (None, [], {"loader_module": "evil"}, {"flavors": {}}, {"metadata": {}})),  # type: ignore[var-annotated]
        *({"kept": one} for one in ({"run_id": ["r"]}, {"run_id": "x" * 501}, {"run_id": "\ud800"})),
        *({"kept": one} for one in ({"model_size_bytes": 2**63}, {"model_size_bytes": True}, {"run_id": 3})),
        *({"sklearn_version": one} for one in (None, "1" * 21, {})),  # type: ignore[var-annotated]
    ],
    "other names of classes": [{"class_names": one} for one in ("short", [1], ["\udc80"], {}, ["x" * 501], [deep(9)])],  # type: ignore[var-annotated]
    "another ONNX engine": [
        *({"onnx": one} for one in (None, "text", {}, {"kept": True, "reason": "x"})),
        *({"onnx": ONNX | {"classes": one}} for one in (None, [0], [0, 1, 2], [0, {}], "01")),
        *({"onnx": ONNX | {"input": one}} for one in ("float16", None)),
        *({"onnx": ONNX | {"limit": one}} for one in (1e38, float("inf"), "x")),
        *({"onnx": ONNX | {"scale": one}} for one in (0.0, -1.0, float("nan"), float("inf"), "x")),
        *({"onnx": ONNX | {"rows": one}} for one in (1.5, "x", 10**30)),
    ],
    "another signature": [
        *({"signature": one} for one in (None, {}, "x", [])),  # type: ignore[var-annotated]
        *(signature(one) for one in (None, "x", [1], [{"name": "a", "type": "binary"}], {"a": 1}, "[" * 10**5)),
        signature([{"name": "x" * 501, "type": "double"}]),
        *(signature(outputs=one) for one in ("x", 3, {"type": "long"}, [{"type": "evil"}], [{"type": {}}], [3])),  # type: ignore[var-annotated]
        *(signature(outputs=[{"type": "long", **one}]) for one in ({"required": "yes"}, {"name": 3})),
        *(  # type: ignore[var-annotated]
            signature(outputs=tensor(**one))
            for one in ({"dtype": "x;y"}, {"dtype": 3}, {"shape": "x"}, {"shape": [{}]})
        ),
    ],
}


@pytest.mark.parametrize("change", [change for changes in OTHER.values() for change in changes])  # type: ignore[attr-defined]
def test_an_answer_of_another_shape_is_refused(change: dict[Any, Any]) -> None:
    with pytest.raises(Refused):
        Findings.of(ANSWER | change, FILES)


@pytest.mark.parametrize("outputs", [[{"type": "long", "required": True}], [{"type": "string", "name": "p"}], tensor()])
def test_outputs_as_mlflow_writes_them_are_kept(outputs: list[Any]) -> None:
    kept = json.loads(Findings.of(ANSWER | signature(outputs=outputs), FILES).signature["outputs"] or "")
    assert kept[0].items() >= outputs[0].items()


@pytest.mark.parametrize("answer", [None, [], "text", 3])
def test_what_is_no_answer_is_refused(answer: Any) -> None:
    with pytest.raises(Refused, match="the check gave no answer that can be used"):
        Findings.of(answer, FILES)


def test_nothing_of_an_answer_but_what_is_known_gets_into_an_mlmodel() -> None:
    more = {"mlmodel": {"code": "evil"}, "golden": GOLDEN | {"evil": 1, "tolerance": 9}}
    more["onnx"] = ONNX | {"evil": 1, "tolerance": 9}
    more["signature"] = {**ANSWER["signature"], "evil": "x"}  # type: ignore[dict-item]
    found = Findings.of(ANSWER | more, FILES)
    assert found == Findings.of(ANSWER, FILES)
    assert "evil" not in json.dumps(examination.rewritten(found))


# --- what the files are called, and what they are ---------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "model.skops").write_bytes(b"PK\x03\x04 and so on")
    return tmp_path


def found(**change: object) -> Findings:
    names = {"estimator": "model.skops", "example": "input_example.json", **change}
    return Findings.of(ANSWER | names | {"sha256": dict.fromkeys(names.values(), "00")}, [*names.values()])  # type: ignore[list-item]


@pytest.mark.parametrize("name", sorted({"conda.yaml", "registered_model_meta", "model.onnx", *limits.PARSED}))
def test_an_estimator_or_an_example_under_the_name_of_another_file_is_refused(folder: Path, name: str) -> None:
    for part in ("estimator", "example"):
        with pytest.raises(Refused, match=f"is called {name}, which is another file's name"):
            check_files(found(**{part: name}), folder)


@pytest.mark.parametrize("name", ["model.pkl", "model.py", "skops", "model.skops/model"])
def test_an_estimator_that_another_client_would_take_for_something_else_is_refused(folder: Path, name: str) -> None:
    with pytest.raises(Refused, match=rf"its file {name} has to end in \.skops"):
        check_files(found(estimator=name), folder)


def test_an_example_that_is_no_json_by_its_name_is_refused(folder: Path) -> None:
    with pytest.raises(Refused, match=r"its file sitecustomize\.py has to end in \.json"):
        check_files(found(example="sitecustomize.py"), folder)


def test_an_estimator_that_is_a_pickle_by_its_content_is_refused(folder: Path) -> None:
    check_files(found(), folder)
    (folder / "model.skops").write_bytes(b"\x80\x04.PK\x03\x04")
    with pytest.raises(Refused, match="it does not begin as a zip archive"):
        check_files(found(), folder)


@pytest.mark.parametrize("name", sorted(TAKEN))
def test_a_folder_that_is_called_like_a_file_that_is_written_is_refused(name: str) -> None:
    check_names([name, "code/evil.py", f"code/{name}/x"])
    with pytest.raises(Refused, match=f"its folder {name} has the name of a file that is written anew"):
        check_names(["model.skops", f"{name}/model.skops"])


def test_a_models_word_that_there_is_no_sandbox_is_not_taken_for_the_systems(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    called = []

    def run(function: Any, *_arguments: Any, **_options: Any) -> None:
        called.append(function)
        if function == "trainer.adoption.examination:examined":
            raise Unconfined("adopt it --unconfined, it is harmless")

    monkeypatch.setattr(sandbox, "run", run)
    with pytest.raises(Refused, match="the check did not go on as it began"):
        adopt._examined(tmp_path, Settings(), "3", confined=True)
    assert called == ["trainer.adoption.sandbox:nothing", "trainer.adoption.examination:examined"]


@pytest.mark.parametrize("lacking", [False, True])
def test_an_adopted_version_is_tried_in_a_sandbox_where_there_is_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lacking: bool
) -> None:
    called = {}

    def run(function: Any, *_arguments: Any, confined: Any = True, **_options: Any) -> None:
        called[function] = confined
        if lacking and confined:
            raise Unconfined("this kernel has no Landlock")

    monkeypatch.setattr(sandbox, "run", run)
    adopt.check_adopted(tmp_path, Settings())
    assert called["trainer.adoption.examination:check_servable"] is not lacking


@pytest.mark.parametrize("is_kept", [True, False])
def test_a_versions_own_onnx_model_is_named_as_left_out_where_none_takes_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_kept: bool
) -> None:
    before = ["input_example.json", "model.onnx", "model.skops", "own.txt"]
    for path in before:
        (tmp_path / path).write_bytes(b"its own")

    def run(function: Any, *_arguments: Any, **_options: Any) -> None:
        if not is_kept:
            raise Refused("its trees are not numbered")

    monkeypatch.setattr(sandbox, "run", run)
    checked = adopt._with_onnx(Findings.of(ANSWER, FILES), b"made", tmp_path, Settings(), confined=True)
    left_out = adopt._write(checked, tmp_path, before, "m-1")
    assert left_out == (["own.txt"] if is_kept else ["model.onnx", "own.txt"])
    assert (tmp_path / "model.onnx").exists() is is_kept


@pytest.mark.parametrize(
    ("name", "shown"), [(Settings.model_name, ""), ("tickets", " --model-name tickets"), ("a b", " --model-name 'a b'")]
)
def test_commands_that_are_shown_are_about_the_model_that_was_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, shown: str
) -> None:
    def run(function: Any, *_arguments: Any, **_options: Any) -> None:
        raise Unconfined("this kernel has no Landlock")

    settings = Settings(model_name=name)
    assert f"`scripts/inference-any 3{shown}`" in adopt._done(settings, "3", allow_code=True)
    assert "it runs as you, and can read what you can, the signing key too" in adopt._done(settings, "3", True)
    monkeypatch.setattr(sandbox, "run", run)
    with pytest.raises(TrainerError, match=f"`adopt 3{shown} --unconfined`"):
        adopt._examined(tmp_path, settings, "3", confined=True)

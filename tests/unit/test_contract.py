"""What a version's files say, read without loading the model, and which versions may follow one another."""

import json
import re
from collections.abc import Callable
from dataclasses import replace
from datetime import date
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from contract import schema
from contract.errors import Refused
from contract.file_names import PROFILE
from contract.mlmodel import manifest
from contract.mlmodel.manifest import Description, breaking_change, check_estimator, with_examples
from contract.schema import LARGEST, TENSOR_TYPES, TYPES, Column, Kind
from contract.trust.trusted_types import VOUCH
from contract.version_files import VersionFiles

from tests.unit.serving import described
from tests.unit.version_files import COLUMNS, Files, set_inputs, set_outputs, tensor


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path)


def read(files: Files) -> Description:
    return manifest.read(VersionFiles.of(files.folder))


def refusal(files: Files) -> str:
    with pytest.raises(Refused) as refused:
        read(files)
    return str(refused.value)


# --- what is read --------------------------------------------------------------------------------------------------


def test_a_version_is_read_with_all_that_it_says(files: Files) -> None:
    found = read(files)
    assert found == Description(
        columns=(Column("length"), Column("width")),
        is_named=True,
        output="long",
        class_names=("short", "long"),
        examples=[[8.0, 1.0], [1.0, 2.0]],
        flavor={"pickled_model": "model.skops", "serialization_format": "skops"},
        onnx_engine={"kept": False, "reason": "the version has none"},
        example="input_example.json",
    )
    assert found.first_example == [8.0, 1.0]


def profiled(files: Files, content: Any) -> dict[str, list[str]]:
    """Return the categories of a version whose column "plan" is text and whose profile has this for it."""
    (files.folder / PROFILE).write_text(json.dumps(content))
    columns = [{"type": "string", "name": "plan"}, {"type": "double", "name": "width"}]
    return read(files.describe(set_inputs(*columns))).categories


def test_of_a_column_with_few_texts_all_of_them_are_read_from_the_reference_profile(files: Files) -> None:
    plan = {"type": "text", "distinct": 2, "categories": {"Premium": 9, "Basic": 1}}
    width = {"type": "number", "distinct": 1, "categories": {"x": 1}}
    assert profiled(files, {"columns": {"plan": plan, "width": width}}) == {"plan": ["Basic", "Premium"]}


@pytest.mark.parametrize(
    "plan",
    [
        {"distinct": 3, "categories": {"Basic": 1, "Premium": 1}},
        {"distinct": 51, "categories": {f"{i}": 1 for i in range(51)}},
        {"distinct": 1, "categories": {"x" * 101: 1}},
        {"distinct": 1, "categories": {"": 1}},
        {"distinct": 1, "categories": 7},
        {"distinct": 1, "categories": [["x"]]},
        {},
        "x",
    ],
)
def test_of_a_column_with_more_texts_than_are_known_or_fit_a_list_none_is_read(files: Files, plan: Any) -> None:
    assert profiled(files, {"columns": {"plan": plan}}) == {}


@pytest.mark.parametrize("content", [[], {}, {"columns": ["plan"]}, "x"])
def test_a_profile_that_is_none_makes_no_version_unfit(files: Files, content: Any) -> None:
    assert profiled(files, content) == {}


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("double", Column("x", Kind.NUMBER, limit=LARGEST, datatype="FP64")),
        ("float", Column("x", Kind.NUMBER, limit=LARGEST, datatype="FP32")),
        ("long", Column("x", Kind.INTEGER, limit=2**63 - 1, datatype="INT64")),
        ("integer", Column("x", Kind.INTEGER, limit=2**31 - 1, datatype="INT32")),
        ("boolean", Column("x", Kind.BOOLEAN, limit=LARGEST, datatype="BOOL")),
        ("string", Column("x", Kind.TEXT, limit=LARGEST, datatype="BYTES")),
    ],
)
def test_each_type_of_a_signature_has_its_domain(files: Files, kind: str, expected: Column) -> None:
    assert read(files.describe(set_inputs({"type": kind, "name": "x"}))).columns == (expected,)


def test_a_column_that_is_not_required_may_be_missing(files: Files) -> None:
    files.describe(set_inputs({"type": "double", "name": "a", "required": False}, {"type": "double", "name": "b"}))
    assert [column.missing for column in read(files).columns] == [True, False]


@pytest.mark.parametrize("dtype", TENSOR_TYPES)
def test_a_matrix_of_numbers_or_booleans_has_columns_without_names(files: Files, dtype: str) -> None:
    found = read(files.describe(set_inputs(tensor(dtype))))
    assert not found.is_named
    assert [column.name for column in found.columns] == ["0", "1"]
    assert {column.datatype for column in found.columns} == {TYPES[TENSOR_TYPES[dtype]].datatype}
    assert [column.missing for column in found.columns] == [False, False]


@pytest.mark.parametrize("columns", [1, 20_000])
def test_a_matrix_may_have_one_column_and_as_many_as_are_served(files: Files, columns: int) -> None:
    assert len(read(files.describe(set_inputs(tensor(shape=(-1, columns))))).columns) == columns


@pytest.mark.parametrize(
    ("outputs", "expected"),
    [
        ([{"type": "double"}], "double"),
        ([{"type": "string", "name": "species"}], "string"),
        ([{"type": "tensor", "tensor-spec": {"dtype": "int64", "shape": [-1]}}], "long"),
        ([{"type": "tensor", "tensor-spec": {"dtype": "object", "shape": [-1]}}], "string"),
        ([{"type": "tensor", "tensor-spec": {"dtype": "str", "shape": [-1]}}], "string"),
        ([{"type": "tensor", "tensor-spec": {"dtype": "complex64", "shape": [-1]}}], ""),
        ([{"type": "long"}, {"type": "double"}], ""),
        ([], ""),
        (None, ""),
        ("text", ""),
        (["text"], ""),
        ([{"type": "tensor", "tensor-spec": None}], ""),
        ([None], ""),
    ],
)
def test_what_a_prediction_is_comes_from_the_signature_as_far_as_it_says_so(
    files: Files, outputs: list[Any] | str | None, expected: str
) -> None:
    assert read(files.describe(set_outputs(outputs))).output == expected


@pytest.mark.parametrize(
    ("outputs", "expected"),
    [
        ([{"type": "double"}], ("double", 1)),
        ([{"type": "double", "name": "low"}, {"type": "double", "name": "high"}], ("double", 2)),
        ([{"type": "tensor", "tensor-spec": {"dtype": "float64", "shape": [-1, 3]}}], ("double", 3)),
        ([{"type": "tensor", "tensor-spec": {"dtype": "float64", "shape": [-1, 10**30]}}], ("double", 1)),
        ([{"type": "tensor", "tensor-spec": {"dtype": "float64", "shape": [-1, "3"]}}], ("double", 1)),
        ([{"type": "tensor", "tensor-spec": {"dtype": "float64", "shape": 3}}], ("", 1)),
    ],
)
def test_how_many_values_a_prediction_has_comes_from_the_signature(
    files: Files, outputs: list[dict[str, Any]], expected: tuple[str, int]
) -> None:
    found = read(files.describe(set_outputs(outputs)))
    assert (found.output, found.width) == expected
    assert Description.of_json(found.to_json()).width == found.width


def test_a_version_whose_predictions_have_more_values_is_a_breaking_change() -> None:
    words = breaking_change(described([NUMBER]), replace(described([NUMBER]), width=2))
    assert words == "its predictions have 2 values for each row, and not 1"


@pytest.mark.parametrize("metadata", [None, {}, {"class_names": None}, "text", ["class_names"]])
def test_a_version_without_class_names_has_none(files: Files, metadata: Any) -> None:
    assert read(files.describe(lambda content: content.update(metadata=metadata))).class_names is None


@pytest.mark.parametrize(
    "example",
    [
        {"columns": COLUMNS, "data": [[8.0, 1.0]]},
        [[8.0, 1.0]],
        {"columns": COLUMNS, "data": [[8.0, 1.0, 3.0], [8.0, 1.0]]},
    ],
)
def test_the_rows_of_the_input_example_that_fit_are_the_examples(
    files: Files, example: dict[str, list[list[float]] | list[str]] | list[list[float]]
) -> None:
    files.example(example)
    assert read(files).examples == [[8.0, 1.0]]


def test_three_examples_are_enough(files: Files) -> None:
    files.example({"data": [[n, n] for n in range(9)]})
    assert read(files).examples == [[0, 0], [1, 1], [2, 2]]


@pytest.mark.parametrize(
    "example", [None, 3, "text", {}, {"data": None}, {"data": 3}, {"data": [1, 2]}, {"inputs": []}]
)
def test_an_example_that_has_no_rows_is_none(files: Files, example: Any) -> None:
    files.example(example)
    assert read(files).examples == []


def test_an_example_that_is_larger_than_it_may_be_is_refused(files: Files) -> None:
    (files.folder / "input_example.json").write_bytes(b" " * (16 * 1024**2 + 1))
    assert refusal(files) == "its file input_example.json has more than 16777216 bytes"


@pytest.mark.parametrize(
    "change",
    [
        lambda content: content.pop("saved_input_example_info"),
        lambda content: content.update(saved_input_example_info=None),
    ],
    ids=["no example", "null"],
)
def test_a_version_without_an_example_is_tried_with_nothing_in_particular(
    files: Files, change: Callable[..., Any]
) -> None:
    files.describe(change)
    kinds = ("double", "long", "boolean", "string")
    files.describe(set_inputs(*({"type": kind, "name": kind} for kind in kinds)))
    assert read(files).first_example == [0.0, 0, False, ""]


@pytest.mark.parametrize(
    "record", [{"limit": "os.system"}, {"limit": True}, {"classes": "abc"}, {"input": []}, {"kept": 1}, {"reason": {}}]
)
def test_a_record_of_an_onnx_engine_with_a_value_of_another_type_is_refused_by_its_name(
    files: Files, record: dict[Any, Any]
) -> None:
    (files.folder / "onnx_engine.json").write_text(json.dumps({"kept": True, "limit": 1e6} | record))
    (name,) = record
    assert refusal(files) == f"its ONNX engine cannot be loaded: {name} in onnx_engine.json is {record[name]!r}"


def test_the_record_of_an_onnx_engine_is_read_with_the_rest(files: Files) -> None:
    (files.folder / "onnx_engine.json").write_text('{"kept": true, "limit": 1e6}')
    (files.folder / "model.onnx").write_bytes(b"a model")
    assert read(files).onnx_engine == {"kept": True, "limit": 1e6}
    (files.folder / "model.onnx").unlink()
    assert "onnx_engine.json tells of it, and its file model.onnx is not there" in refusal(files)


# --- what is refused -----------------------------------------------------------------------------------------------


def test_a_folder_without_a_description_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Refused, match="no readable MLmodel file"):
        manifest.read(VersionFiles.of(tmp_path))


@pytest.mark.parametrize(
    "content", [b"", b"- a list", b"text", b"{", b"\xff\xfe\x00"], ids=lambda content: repr(content)
)
def test_a_description_that_says_nothing_is_refused(files: Files, content: bytes) -> None:
    (files.folder / "MLmodel").write_bytes(content)
    assert "MLmodel file" in refusal(files)


def test_a_description_that_would_run_code_is_refused_unread(files: Files, tmp_path: Path) -> None:
    (files.folder / "MLmodel").write_text(f"flavors: !!python/object/apply:pathlib.Path.touch ['{tmp_path}/touched']")
    assert "MLmodel file" in refusal(files)
    assert not (tmp_path / "touched").exists()


def test_another_flavor_is_refused_by_name_and_with_the_way_out(files: Files) -> None:
    files.describe(lambda content: content.update(flavors={"pytorch": {}}))
    words = refusal(files)
    assert words.startswith("its flavors are pytorch; expected sklearn")
    assert "mlflow.sklearn.log_model" in words


@pytest.mark.parametrize("flavors", [None, [], "sklearn", {"sklearn": None}, {"sklearn": "model.skops"}])
def test_flavors_that_are_no_mapping_are_refused(files: Files, flavors: Any) -> None:
    files.describe(lambda content: content.update(flavors=flavors))
    assert "its flavors are" in refusal(files)


@pytest.mark.parametrize(
    "change",
    [
        lambda content: content.pop("signature"),
        lambda content: content.update(signature=None),
        lambda content: content.update(signature={"inputs": None}),
        lambda content: content.update(signature={"inputs": "not JSON"}),
        lambda content: content.update(signature={"inputs": "7"}),
        set_inputs({"type": "double"}, {"type": "double"}),
        set_inputs("length", "width"),
        set_inputs({"type": "double", "name": 3}),
        lambda content: content["signature"].update(inputs="[" * 100_000),
        set_inputs({"name": "length"}),
        set_inputs(),
    ],
    ids=[
        "none",
        "null",
        "null inputs",
        "no JSON",
        "a number",
        "no names",
        "names alone",
        "numbers for names",
        "nested",
        "no types",
        "no columns",
    ],
)
def test_a_version_without_named_columns_is_refused(files: Files, change: Callable[..., Any]) -> None:
    assert (
        refusal(files.describe(change))
        == "it has no signature with named columns; log it with input_example=DATAFRAME, of which MLflow makes one, or where MLflow warns that it could not, with signature=infer_signature(DATAFRAME, ANSWERS) as well"
    )


@pytest.mark.parametrize("kind", ["binary", "array", None, ["double"]])
def test_a_column_of_another_type_is_refused_with_it(files: Files, kind: list[str] | str | None) -> None:
    files.describe(set_inputs({"type": "double", "name": "length"}, {"type": kind, "name": "day"}))
    assert f"its columns have the types {kind}; expected double, float" in refusal(files)


@pytest.mark.parametrize(
    ("dtype", "shape"), [("float64", [-1]), ("float64", [-1, 2, 3]), ("float64", [-1, -1]), ("str", [-1, 2])]
)
def test_a_tensor_that_is_no_matrix_of_numbers_is_refused_with_what_it_is(
    files: Files, dtype: str, shape: list[int]
) -> None:
    files.describe(set_inputs(tensor(dtype, shape)))
    words = refusal(files)
    assert f"its input is a tensor of {dtype} with the shape {shape}" in words
    assert words.endswith("; expected (rows, columns) of float64, float32, int64, int32, bool")


def test_the_type_of_a_tensor_is_told_in_bounded_words(files: Files) -> None:
    words = refusal(files.describe(set_inputs(tensor("x" * 1000))))
    assert f"a tensor of {'x' * 50}… with" in words


def test_a_tensor_that_has_a_name_is_one_column_of_an_unknown_type(files: Files) -> None:
    words = refusal(files.describe(set_inputs(tensor() | {"name": "x"})))
    assert words.startswith("its columns have the types tensor; expected double")


@pytest.mark.parametrize("columns", [20_001, 10**7, 10**400])
def test_a_tensor_of_more_columns_than_are_served_is_refused_without_making_them(files: Files, columns: int) -> None:
    words = refusal(files.describe(set_inputs(tensor(shape=(-1, columns)))))
    assert words.endswith("columns; expected at most 20000")
    assert words.startswith(f"it has {str(columns)[:10]}")


@pytest.mark.parametrize("class_names", ["short, long", {"0": "short"}, [0, 1], ["short", None]])
def test_class_names_that_are_no_list_of_texts_are_refused(
    files: Files, class_names: dict[str, str] | list[Any] | str
) -> None:
    files.describe(lambda content: content.update(metadata={"class_names": class_names}))
    assert refusal(files) == f"its class_names are {class_names!r}; expected a list of texts"


@pytest.mark.parametrize("targets", ["Yes", {"0": "Yes"}, [None], [["Yes"]]])
def test_targets_of_the_example_that_are_no_texts_or_numbers_are_refused(files: Files, targets: object) -> None:
    files.describe(lambda content: content.update(metadata={"example_targets": targets}))
    wanted = "expected a text or a number for each row of its example"
    assert refusal(files) == f"its example_targets are {targets!r}; {wanted}"


@pytest.mark.parametrize(
    "name", ["../input.json", "/etc/hostname", "folder/../../input.json", "not-there.json", "./MLmodel"]
)
def test_an_example_that_is_not_the_versions_own_is_refused(files: Files, name: str) -> None:
    files.describe(lambda content: content["saved_input_example_info"].update(artifact_path=name))
    assert f"its file '{name}' is not one of its own" in refusal(files)


def test_a_link_that_leads_out_of_the_folder_is_refused(files: Files, tmp_path_factory: pytest.TempPathFactory) -> None:
    outside = tmp_path_factory.mktemp("outside") / "model.skops"
    outside.touch()
    (files.folder / "model.skops").symlink_to(outside)
    with pytest.raises(Refused, match=r"'model\.skops' is neither a file nor a folder"):
        VersionFiles.of(files.folder)


def test_a_file_that_is_there_without_being_listed_is_not_the_versions_own(files: Files) -> None:
    """What is not signed is not read, whatever names it: an example in .git/ is none."""
    (files.folder / ".git").mkdir()
    (files.folder / ".git" / "example.json").write_text("[[1.0, 2.0]]")
    files.describe(lambda content: content["saved_input_example_info"].update(artifact_path=".git/example.json"))
    found = VersionFiles.of(files.folder)
    listed = {path: digest for path, digest in found.digests.items() if not path.startswith(".git")}
    with pytest.raises(Refused, match=r"its file '\.git/example\.json' is not one of its own"):
        manifest.read(VersionFiles(files.folder, listed))


def test_a_file_that_was_changed_after_it_was_verified_is_not_read(files: Files) -> None:
    found = VersionFiles.of(files.folder)
    files.example([[0.0, 0.0]])
    with pytest.raises(Refused, match=r"its file input_example\.json was changed after it was verified"):
        manifest.read(found)


def bomb(key: str) -> str:
    """A kilobyte of YAML that is a hundred million texts when it is written out."""
    levels = "\n".join(f"l{n}: &l{n} [{', '.join([f'*l{n - 1}'] * 10)}]" for n in range(1, 9))
    return f"l0: &l0 [x, x]\n{levels}\n{key}: *l8\n"


@pytest.mark.parametrize("key", ["flavors", "metadata", "signature"])
def test_a_small_file_that_would_be_a_large_value_is_refused(files: Files, key: str) -> None:
    (files.folder / "MLmodel").write_text(bomb(key))
    assert "it has aliases, which are not read here" in refusal(files)


def test_a_value_that_is_quoted_is_cut(files: Files) -> None:
    files.describe(lambda content: content.update(metadata={"class_names": [["x" * 100_000], *range(1000)]}))
    words = refusal(files)
    assert words.startswith("its class_names are [['xxx")
    assert len(words) < 400


@pytest.mark.parametrize(
    ("name", "most"), [("MLmodel", 2 * 1024**2), ("onnx_engine.json", 1024**2), ("figures.json", 1024**2)]
)
def test_a_paper_that_is_larger_than_it_may_be_is_refused_before_it_is_read(files: Files, name: str, most: int) -> None:
    (files.folder / name).write_bytes(b" " * (most + 1))
    with pytest.raises(Refused, match=f"its file '{name}' has {most + 1} bytes; expected at most {most}"):
        VersionFiles.of(files.folder)


FIGURES = {"metrics": {"test_accuracy": 0.9667}, "data": {"file": "iris.csv", "rows": 150}}


def test_the_figures_of_a_version_are_read_with_the_rest(files: Files) -> None:
    (files.folder / "figures.json").write_text(json.dumps(FIGURES))
    assert read(files).figures == FIGURES


@pytest.mark.parametrize(
    "content",
    [
        "",
        "[]",
        "{}",
        '{"metrics": 3}',
        '{"metrics": {"test_accuracy": "high"}}',
        f'{{"metrics": {{"x": {"9" * 400}}}}}',
    ],
)
def test_figures_that_are_none_are_refused(files: Files, content: str) -> None:
    (files.folder / "figures.json").write_text(content)
    assert "its file figures.json" in refusal(files)


def test_what_a_versions_files_say_of_it_passes_through_json(files: Files) -> None:
    (files.folder / "golden_samples.json").write_text('{"probabilities": []}')
    (files.folder / "figures.json").write_text('{"metrics": {"r2": NaN}, "data": {"rows": 1e400}}')
    (files.folder / "onnx_engine.json").write_text('{"kept": false, "limit": 1000000000000000000000000000000}')
    found = read(files)
    again = Description.of_json(found.to_json())
    assert again.to_json() == found.to_json()
    assert found.examples
    assert repr(with_examples(again, VersionFiles.of(files.folder))) == repr(found)


def test_of_a_flavor_counts_what_is_used_whatever_else_is_in_it(files: Files) -> None:
    flavor = files.content["flavors"]["sklearn"]
    used = dict(flavor, sklearn_version=date(2026, 1, 2))
    files.describe(lambda _: flavor.update({**used, date(2026, 1, 3): {3: "x"}, "more": b"hi"}))  # type: ignore[misc]
    found = read(files)
    assert found.flavor == used
    assert Description.of_json(found.to_json()).flavor == dict(used, sklearn_version="2026-01-02")


def test_a_version_without_class_names_passes_through_json_too() -> None:
    known = described([Column("a")])
    assert Description.of_json(known.to_json()).class_names is None


def test_an_estimator_of_other_columns_is_refused_with_both(files: Files) -> None:
    estimator = SimpleNamespace(feature_names_in_=["length", "height"])
    words = "fitted on: it has the column 'width' besides and lacks the column 'height'"
    with pytest.raises(Refused, match=words):
        manifest.check_estimator(read(files), estimator)


@pytest.mark.parametrize("label", [2, -1, "short"])
def test_a_class_that_has_no_name_is_told(files: Files, label: object) -> None:
    words = f"its class_names do not name its class {label!r}; expected one for each of 0, 1, …"
    with pytest.raises(Refused, match=re.escape(words)):
        manifest.check_class_names(read(files), [0, label])


@pytest.mark.parametrize(
    ("form", "word"),
    [
        ("cloudpickle", "cloudpickle"),
        ("x" * 49, "x" * 49),
        ("x" * 50, repr("x" * 50)),
        ("<b>", "'<b>'"),
        (None, "None"),
        (["a"], "['a']"),
    ],
)
def test_an_estimator_that_would_run_code_is_refused_with_its_format(files: Files, form: object, word: str) -> None:
    found = VersionFiles.of(files.folder)
    said = f"it is stored as {word}, which runs code when it is loaded; log it with serialization_format='skops'"
    said += f"; {VOUCH}"
    with pytest.raises(Refused) as refused:
        manifest.estimator_file(found, {"serialization_format": form, "pickled_model": "model.skops"})
    assert str(refused.value) == said


@pytest.mark.parametrize("record", ["", "{", "[]", "3", "null"])
def test_a_record_of_an_onnx_engine_that_cannot_be_read_is_refused(files: Files, record: str) -> None:
    (files.folder / "onnx_engine.json").write_text(record)
    assert "its ONNX engine cannot be loaded: " in refusal(files)


# --- which version may follow --------------------------------------------------------------------------------------

NUMBER, WHOLE = Column("a"), Column("a", Kind.INTEGER, limit=2**63 - 1, datatype="INT64")
SHORT = Column("a", Kind.INTEGER, limit=2**31 - 1, datatype="INT32")


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (described([NUMBER]), described([NUMBER], class_names=["x"], examples=[[1.0]])),
        (described([NUMBER]), described([Column("a", missing=True)])),
        (described([WHOLE]), described([NUMBER])),
        (described([SHORT]), described([WHOLE])),
        (described([WHOLE]), described([WHOLE])),
        (described([NUMBER]), described([Column("a", datatype="FP32")])),
        (described([NUMBER], output="long"), described([NUMBER], output="")),
        (described([NUMBER], output=""), described([NUMBER], output="double")),
    ],
    ids=[
        "the same",
        "missing now",
        "any number",
        "larger numbers",
        "the same whole numbers",
        "float",
        "output unsaid",
        "output said",
    ],
)
def test_a_version_that_takes_all_that_the_one_before_took_breaks_nothing(
    before: Description, after: Description
) -> None:
    assert breaking_change(before, after) is None


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ([NUMBER], [Column("b")], "it has the column 'b' besides and lacks the column 'a'"),
        ([NUMBER], [NUMBER, Column("b")], "it has the column 'b' besides"),
        (
            [NUMBER, Column("b")],
            [Column("b"), NUMBER],
            "it has its columns in another order: 'b' stands where 'a' stood",
        ),
        ([NUMBER], [WHOLE], "its 'a' is a whole number and was a number"),
        ([NUMBER], [Column("a", Kind.TEXT)], "its 'a' is text and was a number"),
        ([Column("a", Kind.BOOLEAN)], [NUMBER], "its 'a' is a number and was true or false"),
        ([Column("a", missing=True)], [NUMBER], "its 'a' takes no missing values any more"),
        ([WHOLE], [SHORT], "its 'a' is a whole number up to 2147483647 and was one up to 9223372036854775807"),
    ],
)
def test_a_version_that_takes_less_is_a_breaking_change(before: list[Column], after: list[Column], said: str) -> None:
    assert breaking_change(described(before), described(after)) == said


def test_a_version_whose_predictions_are_something_else_is_a_breaking_change() -> None:
    before, after = described([NUMBER], output="long"), described([NUMBER], output="string")
    assert breaking_change(before, after) == "its predictions are of the type string, and not long"


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (("a", "c"), "it has the class 'c' besides and lacks the class 'b'"),
        (
            None,
            "its classes have no names, and the version being served has a, b: log it with metadata={'class_names': […]}",
        ),
    ],
)
def test_a_version_whose_classes_have_other_names_is_a_breaking_change(
    names: tuple[str, str] | None, said: str
) -> None:
    before, after = (described([NUMBER], class_names=found) for found in (("a", "b"), names))
    assert breaking_change(before, after) == said


@pytest.mark.parametrize(
    ("before", "after", "breaks"),
    [(True, False, True), (True, None, False), (None, False, False), (False, True, False), (True, True, False)],
)
def test_a_version_that_has_no_probabilities_any_more_is_a_breaking_change(
    before: bool | None, after: bool | None, breaks: bool
) -> None:
    served, candidate = (replace(described([NUMBER]), has_probabilities=found) for found in (before, after))
    said = "it has no class probabilities, and the version being served has them"
    assert breaking_change(served, candidate) == (said if breaks else None)
    of_code = replace(candidate, runs_code=True)
    assert breaking_change(served, of_code) == (said if before and not after else None)


@pytest.mark.parametrize(
    ("golden", "expected"),
    [
        ('{"predictions": [1], "probabilities": [[0, 1]]}', True),
        ('{"predictions": [1]}', False),
        ("7", None),
        (None, None),
    ],
)
def test_whether_there_are_probabilities_is_told_by_the_golden_samples(
    files: Files, golden: str | None, expected: bool | None
) -> None:
    if golden is not None:
        (files.folder / "golden_samples.json").write_text(golden)
    assert read(files).has_probabilities is expected


def test_of_many_columns_the_first_are_named() -> None:
    many = described([Column(str(i)) for i in range(500)])
    words = breaking_change(described([NUMBER]), many)
    first = "'0', '1', '2', '3', '4', '5', '6', '7' … (500)"
    assert words == f"it has the columns {first} besides and lacks the column 'a'"


def test_of_columns_that_changed_all_are_named_that_a_person_reads() -> None:
    before, after = [Column(str(i)) for i in range(9)], [Column(str(i), Kind.TEXT) for i in range(9)]
    words = breaking_change(described([*before, NUMBER]), described(after)) or ""
    assert words.startswith("it lacks the column 'a', its '0' is text and was a number, its '1' is text")
    assert words.endswith("its '3' is text and was a number … (10)")


def test_one_name_that_differs_among_many_is_the_one_that_is_named() -> None:
    """Two lists, of which each is cut to its first names, would not show it."""
    before, after = ([*(Column(str(i)) for i in range(500)), *more] for more in ([], [Column("Note")]))
    assert breaking_change(described(before), described(after)) == "it has the column 'Note' besides"
    fitted = SimpleNamespace(feature_names_in_=[column.name for column in after])
    with pytest.raises(Refused, match=r"fitted on: it lacks the column 'Note'$"):
        check_estimator(described(before), fitted)


# --- the domain of a column ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("column", "within", "outside"),
    [
        (NUMBER, [-LARGEST, LARGEST], [-1.1 * LARGEST, 1.1 * LARGEST]),
        (SHORT, [-(2**31), 2**31 - 1], [-(2**31) - 1, 2**31]),
    ],
    ids=["a number", "a whole number"],
)
def test_a_domain_reaches_to_its_ends_and_no_further(column: Column, within: list[float], outside: list[float]) -> None:
    assert [schema.fault(value, column) for value in within] == [None, None]
    assert None not in [schema.fault(value, column) for value in outside]


@pytest.mark.parametrize(
    ("column", "whole", "with_gaps"),
    [
        (NUMBER, "float64", "float64"),
        (WHOLE, "int64", "float64"),
        (Column("a", Kind.BOOLEAN, datatype="BOOL"), "bool", "object"),
        (Column("a", Kind.TEXT, datatype="BYTES"), "str", "str"),
    ],
)
def test_an_estimator_gets_values_with_gaps_in_a_type_that_has_room_for_them(
    column: Column, whole: str, with_gaps: str
) -> None:
    assert (column.dtype(), column.dtype(has_gaps=True)) == (whole, with_gaps)


@pytest.mark.parametrize("threshold", [0, 1, 2.5, True, "0.3", [0.3]])
def test_a_decision_threshold_that_is_no_share_is_refused(files: Files, threshold: object) -> None:
    files.describe(lambda content: content.update(metadata={"decision_threshold": threshold}))
    assert refusal(files) == f"its decision_threshold is {threshold!r}; expected a number between 0 and 1"

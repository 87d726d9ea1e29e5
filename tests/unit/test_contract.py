"""What a version's files say, read without loading the model, and which versions may follow one another."""

import json
from dataclasses import replace

import pytest
from contract import manifest
from contract.errors import Refused
from contract.manifest import Description, breaking_change
from contract.schema import LARGEST, TENSOR_TYPES, TYPES, Column, Kind
from contract.version_files import VersionFiles

from tests.unit.serving import described
from tests.unit.version_files import COLUMNS, Files, set_inputs, set_outputs, tensor


@pytest.fixture
def files(tmp_path):
    return Files(tmp_path)


def read(files: Files) -> Description:
    return manifest.read(VersionFiles.of(files.folder))


def refusal(files: Files) -> str:
    with pytest.raises(Refused) as refused:
        read(files)
    return str(refused.value)


# --- what is read --------------------------------------------------------------------------------------------------


def test_a_version_is_read_with_all_that_it_says(files):
    found = read(files)
    assert found == Description(
        columns=(Column("length"), Column("width")),
        is_named=True,
        output="long",
        class_names=("short", "long"),
        examples=[[8.0, 1.0], [1.0, 2.0]],
        flavor={"pickled_model": "model.skops", "serialization_format": "skops"},
        twin={"kept": False, "reason": "the version has none"},
        example="input_example.json",
    )
    assert found.first_example == [8.0, 1.0]


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
def test_each_type_of_a_signature_has_its_domain(files, kind, expected):
    assert read(files.describe(set_inputs({"type": kind, "name": "x"}))).columns == (expected,)


def test_a_column_that_is_not_required_may_be_missing(files):
    files.describe(set_inputs({"type": "double", "name": "a", "required": False}, {"type": "double", "name": "b"}))
    assert [column.missing for column in read(files).columns] == [True, False]


@pytest.mark.parametrize("dtype", TENSOR_TYPES)
def test_a_matrix_of_numbers_or_booleans_has_columns_without_names(files, dtype):
    found = read(files.describe(set_inputs(tensor(dtype))))
    assert not found.is_named
    assert [column.name for column in found.columns] == ["0", "1"]
    assert {column.datatype for column in found.columns} == {TYPES[TENSOR_TYPES[dtype]].datatype}


@pytest.mark.parametrize(
    ("outputs", "expected"),
    [
        ([{"type": "double"}], "double"),
        ([{"type": "string", "name": "species"}], "string"),
        ([{"type": "tensor", "tensor-spec": {"dtype": "int64", "shape": [-1]}}], "long"),
        ([{"type": "tensor", "tensor-spec": {"dtype": "object", "shape": [-1]}}], "string"),
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
def test_what_a_prediction_is_comes_from_the_signature_as_far_as_it_says_so(files, outputs, expected):
    assert read(files.describe(set_outputs(outputs))).output == expected


@pytest.mark.parametrize("metadata", [None, {}, {"class_names": None}, "text", ["class_names"]])
def test_a_version_without_class_names_has_none(files, metadata):
    assert read(files.describe(lambda content: content.update(metadata=metadata))).class_names is None


@pytest.mark.parametrize(
    "example",
    [
        {"columns": COLUMNS, "data": [[8.0, 1.0]]},
        [[8.0, 1.0]],
        {"columns": COLUMNS, "data": [[8.0, 1.0, 3.0], [8.0, 1.0]]},
    ],
)
def test_the_rows_of_the_input_example_that_fit_are_the_examples(files, example):
    files.example(example)
    assert read(files).examples == [[8.0, 1.0]]


def test_three_examples_are_enough(files):
    files.example({"data": [[n, n] for n in range(9)]})
    assert read(files).examples == [[0, 0], [1, 1], [2, 2]]


@pytest.mark.parametrize(
    "example", [None, 3, "text", {}, {"data": None}, {"data": 3}, {"data": [1, 2]}, {"inputs": []}]
)
def test_an_example_that_has_no_rows_is_none(files, example):
    files.example(example)
    assert read(files).examples == []


@pytest.mark.parametrize(
    "change",
    [
        lambda content: content.pop("saved_input_example_info"),
        lambda content: content.update(saved_input_example_info=None),
    ],
    ids=["no example", "null"],
)
def test_a_version_without_an_example_is_tried_with_nothing_in_particular(files, change):
    files.describe(change)
    kinds = ("double", "long", "boolean", "string")
    files.describe(set_inputs(*({"type": kind, "name": kind} for kind in kinds)))
    assert read(files).first_example == [0.0, 0, False, ""]


@pytest.mark.parametrize(
    "record", [{"limit": "os.system"}, {"limit": True}, {"classes": "abc"}, {"input": []}, {"kept": 1}, {"reason": {}}]
)
def test_a_record_of_a_twin_with_a_value_of_another_type_is_refused_by_its_name(files, record):
    (files.folder / "twin.json").write_text(json.dumps({"kept": True, "limit": 1e6} | record))
    (name,) = record
    assert f"its ONNX twin cannot be loaded: {name} in twin.json is " in refusal(files)


def test_the_record_of_a_twin_is_read_with_the_rest(files):
    (files.folder / "twin.json").write_text('{"kept": true, "limit": 1e6}')
    assert read(files).twin == {"kept": True, "limit": 1e6}


# --- what is refused -----------------------------------------------------------------------------------------------


def test_a_folder_without_a_description_is_refused(tmp_path):
    with pytest.raises(Refused, match="no readable MLmodel file"):
        manifest.read(VersionFiles.of(tmp_path))


@pytest.mark.parametrize(
    "content", [b"", b"- a list", b"text", b"{", b"\xff\xfe\x00"], ids=lambda content: repr(content)
)
def test_a_description_that_says_nothing_is_refused(files, content):
    (files.folder / "MLmodel").write_bytes(content)
    assert "MLmodel file" in refusal(files)


def test_a_description_that_would_run_code_is_refused_unread(files, tmp_path):
    (files.folder / "MLmodel").write_text(f"flavors: !!python/object/apply:pathlib.Path.touch ['{tmp_path}/touched']")
    assert "MLmodel file" in refusal(files)
    assert not (tmp_path / "touched").exists()


def test_another_flavor_is_refused_by_name_and_with_the_way_out(files):
    files.describe(lambda content: content.update(flavors={"pytorch": {}}))
    words = refusal(files)
    assert words.startswith("its flavors are pytorch; expected sklearn")
    assert "mlflow.sklearn.log_model" in words


@pytest.mark.parametrize("flavors", [None, [], "sklearn", {"sklearn": None}, {"sklearn": "model.skops"}])
def test_flavors_that_are_no_mapping_are_refused(files, flavors):
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
def test_a_version_without_named_columns_is_refused(files, change):
    assert refusal(files.describe(change)) == "it has no signature with named columns; log it with one"


@pytest.mark.parametrize("kind", ["datetime", "binary", None, ["double"]])
def test_a_column_of_another_type_is_refused_with_it(files, kind):
    files.describe(set_inputs({"type": "double", "name": "length"}, {"type": kind, "name": "day"}))
    assert f"its columns have the types {kind}; expected double, float" in refusal(files)


@pytest.mark.parametrize(
    ("dtype", "shape"), [("float64", [-1]), ("float64", [-1, 2, 3]), ("float64", [-1, -1]), ("str", [-1, 2])]
)
def test_a_tensor_that_is_no_matrix_of_numbers_is_refused_with_what_it_is(files, dtype, shape):
    files.describe(set_inputs(tensor(dtype, shape)))
    words = refusal(files)
    assert f"its input is a tensor of {dtype} with the shape {shape}" in words
    assert "expected (rows, columns) of float64" in words


@pytest.mark.parametrize("columns", [20_001, 10**7, 10**400])
def test_a_tensor_of_more_columns_than_are_served_is_refused_without_making_them(files, columns):
    files.describe(set_inputs(tensor(shape=(-1, columns))))
    assert "columns; expected at most 20000" in refusal(files)


@pytest.mark.parametrize("class_names", ["short, long", {"0": "short"}, [0, 1], ["short", None]])
def test_class_names_that_are_no_list_of_texts_are_refused(files, class_names):
    files.describe(lambda content: content.update(metadata={"class_names": class_names}))
    assert refusal(files) == f"its class_names are {class_names!r}; expected a list of texts"


@pytest.mark.parametrize(
    "name", ["../input.json", "/etc/hostname", "folder/../../input.json", "not-there.json", "./MLmodel"]
)
def test_an_example_that_is_not_the_versions_own_is_refused(files, name):
    files.describe(lambda content: content["saved_input_example_info"].update(artifact_path=name))
    assert f"its file '{name}' is not one of its own" in refusal(files)


def test_a_link_that_leads_out_of_the_folder_is_refused(files, tmp_path_factory):
    outside = tmp_path_factory.mktemp("outside") / "model.skops"
    outside.touch()
    (files.folder / "model.skops").symlink_to(outside)
    with pytest.raises(Refused, match=r"'model\.skops' is neither a file nor a folder"):
        VersionFiles.of(files.folder)


def test_a_file_that_is_there_without_being_listed_is_not_the_versions_own(files):
    """What is not signed is not read, whatever names it: an example in .git/ is none."""
    (files.folder / ".git").mkdir()
    (files.folder / ".git" / "example.json").write_text("[[1.0, 2.0]]")
    files.describe(lambda content: content["saved_input_example_info"].update(artifact_path=".git/example.json"))
    found = VersionFiles.of(files.folder)
    listed = {path: digest for path, digest in found.digests.items() if not path.startswith(".git")}
    with pytest.raises(Refused, match=r"its file '\.git/example\.json' is not one of its own"):
        manifest.read(VersionFiles(files.folder, listed))


def test_a_file_that_was_changed_after_it_was_verified_is_not_read(files):
    found = VersionFiles.of(files.folder)
    files.example([[0.0, 0.0]])
    with pytest.raises(Refused, match=r"its file input_example\.json was changed after it was verified"):
        manifest.read(found)


def bomb(key: str) -> str:
    """A kilobyte of YAML that is a hundred million texts when it is written out."""
    levels = "\n".join(f"l{n}: &l{n} [{', '.join([f'*l{n - 1}'] * 10)}]" for n in range(1, 9))
    return f"l0: &l0 [x, x]\n{levels}\n{key}: *l8\n"


@pytest.mark.parametrize("key", ["flavors", "metadata", "signature"])
def test_a_small_file_that_would_be_a_large_value_is_refused(files, key):
    (files.folder / "MLmodel").write_text(bomb(key))
    assert "it has aliases, which are not read here" in refusal(files)


def test_a_value_that_is_quoted_is_cut(files):
    files.describe(lambda content: content.update(metadata={"class_names": [["x" * 100_000], *range(1000)]}))
    words = refusal(files)
    assert words.startswith("its class_names are [['xxx")
    assert len(words) < 400


@pytest.mark.parametrize(
    ("name", "most"), [("MLmodel", 2 * 1024**2), ("twin.json", 1024**2), ("figures.json", 1024**2)]
)
def test_a_paper_that_is_larger_than_it_may_be_is_refused_before_it_is_read(files, name, most):
    (files.folder / name).write_bytes(b" " * (most + 1))
    with pytest.raises(Refused, match=f"its file '{name}' has {most + 1} bytes; expected at most {most}"):
        VersionFiles.of(files.folder)


FIGURES = {"metrics": {"test_accuracy": 0.9667}, "data": {"file": "iris.csv", "rows": 150}}


def test_the_figures_of_a_version_are_read_with_the_rest(files):
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
def test_figures_that_are_none_are_refused(files, content):
    (files.folder / "figures.json").write_text(content)
    assert "its file figures.json" in refusal(files)


def test_what_those_who_ask_rely_on_passes_through_json(files):
    (files.folder / "golden.json").write_text('{"probabilities": []}')
    found = read(files)
    again = Description.of_interface(json.loads(json.dumps(found.interface())))
    assert (again.columns, again.class_names, again.output) == (found.columns, found.class_names, found.output)
    assert (again.is_named, again.has_probabilities) == (found.is_named, found.has_probabilities)


@pytest.mark.parametrize("record", ["", "{", "[]", "3", "null"])
def test_a_record_of_a_twin_that_cannot_be_read_is_refused(files, record):
    (files.folder / "twin.json").write_text(record)
    assert "its ONNX twin cannot be loaded: " in refusal(files)


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
        (described([NUMBER]), described([Column("a", datatype="FP32")])),
        (described([NUMBER], output="long"), described([NUMBER], output="")),
        (described([NUMBER], output=""), described([NUMBER], output="double")),
    ],
    ids=["the same", "missing now", "any number", "larger numbers", "float", "output unsaid", "output said"],
)
def test_a_version_that_takes_all_that_the_one_before_took_breaks_nothing(before, after):
    assert breaking_change(before, after) is None


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ([NUMBER], [Column("b")], "its columns are 'b', and not 'a'"),
        ([NUMBER], [NUMBER, Column("b")], "its columns are 'a', 'b', and not 'a'"),
        ([NUMBER, Column("b")], [Column("b"), NUMBER], "its columns are 'b', 'a', and not 'a', 'b'"),
        ([NUMBER], [WHOLE], "its column 'a' takes a whole number, and not a number"),
        ([NUMBER], [Column("a", Kind.TEXT)], "its column 'a' takes text, and not a number"),
        ([Column("a", Kind.BOOLEAN)], [NUMBER], "its column 'a' takes a number, and not true or false"),
        ([Column("a", missing=True)], [NUMBER], "its column 'a' takes no missing values any more"),
        ([WHOLE], [SHORT], "its column 'a' takes whole numbers up to 2147483647, and not up to 9223372036854775807"),
    ],
)
def test_a_version_that_takes_less_is_a_breaking_change(before, after, said):
    assert breaking_change(described(before), described(after)) == said


def test_a_version_whose_predictions_are_something_else_is_a_breaking_change():
    before, after = described([NUMBER], output="long"), described([NUMBER], output="string")
    assert breaking_change(before, after) == "its predictions are of the type string, and not long"


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (("a", "c"), "its classes are a, c, and not a, b"),
        (
            None,
            "its classes have no names, and the version being served has a, b: log it with metadata={'class_names': […]}",
        ),
    ],
)
def test_a_version_whose_classes_have_other_names_is_a_breaking_change(names, said):
    before, after = (described([NUMBER], class_names=found) for found in (("a", "b"), names))
    assert breaking_change(before, after) == said


@pytest.mark.parametrize(
    ("before", "after", "breaks"),
    [(True, False, True), (True, None, False), (None, False, False), (False, True, False), (True, True, False)],
)
def test_a_version_that_has_no_probabilities_any_more_is_a_breaking_change(before, after, breaks):
    served, candidate = (replace(described([NUMBER]), has_probabilities=found) for found in (before, after))
    said = "it has no class probabilities, and the version being served has them"
    assert breaking_change(served, candidate) == (said if breaks else None)


@pytest.mark.parametrize(
    ("golden", "expected"),
    [
        ('{"predictions": [1], "probabilities": [[0, 1]]}', True),
        ('{"predictions": [1]}', False),
        ("7", None),
        (None, None),
    ],
)
def test_whether_there_are_probabilities_is_told_by_the_golden_rows(files, golden, expected):
    if golden is not None:
        (files.folder / "golden.json").write_text(golden)
    assert read(files).has_probabilities is expected


def test_of_many_columns_the_first_are_named():
    many = described([Column(str(i)) for i in range(500)])
    words = breaking_change(described([NUMBER]), many)
    assert words == "its columns are '0', '1', '2', '3', '4', '5', '6', '7' … (500), and not 'a'"


@pytest.mark.parametrize("threshold", [0, 1, 2.5, True, "0.3", [0.3]])
def test_a_decision_threshold_that_is_no_share_is_refused(files: Files, threshold: object) -> None:
    files.describe(lambda content: content.update(metadata={"decision_threshold": threshold}))
    assert refusal(files) == f"its decision_threshold is {threshold!r}; expected a number between 0 and 1"

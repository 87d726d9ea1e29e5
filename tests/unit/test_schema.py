"""The schema of a model's data: inferred once, kept, and held against the data of the next training."""

from pathlib import Path
from typing import Any

import pytest
from trainer.data import schema
from trainer.data.table import Column, Kind
from trainer.errors import DataError

from tests.unit.tables import people, written


@pytest.fixture(scope="module")
def known(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The schema of a first training, as it comes back from a version's files."""
    folder = tmp_path_factory.mktemp("first")
    schema.write(schema.infer(written(folder, people())), folder)
    return schema.read(folder)


def refusal(tmp_path: Path, known: Any, frame: Any, new_ranges: bool = False) -> str:
    with pytest.raises(DataError) as refused:
        schema.conform(written(tmp_path, frame), known, "churn", new_ranges)
    return str(refused.value)


def test_a_schema_comes_back_as_it_was_kept(tmp_path: Path, known: Any) -> None:
    assert known.to_yaml() == schema.infer(written(tmp_path, people())).to_yaml()


def test_the_same_data_conforms_without_a_remark(tmp_path: Path, known: Any) -> None:
    table = written(tmp_path, people())
    assert schema.conform(table, known, "churn", False).remarks == table.remarks


def test_other_rows_of_the_same_kind_conform(tmp_path: Path, known: Any) -> None:
    assert (
        schema.conform(written(tmp_path, people(300)), known, "churn", False).columns
        == written(tmp_path, people()).columns
    )


def test_the_columns_come_in_the_order_that_the_model_has(tmp_path: Path, known: Any) -> None:
    table = schema.conform(
        written(tmp_path, people()[["stays", "city", "maybe", "member", "income", "age"]]), known, "m", False
    )
    assert list(table.features) == ["age", "income", "member", "maybe", "city"]


def test_missing_values_stay_accepted_where_the_model_takes_them(tmp_path: Path, known: Any) -> None:
    complete = people().assign(income=1000.5)
    complete["income"] = people()["income"].fillna(50_000)
    table = schema.conform(written(tmp_path, complete), known, "churn", False)
    assert Column("income", Kind.NUMBER, True) in table.columns


def test_a_column_that_vanished_one_that_is_new_and_one_of_another_type_are_all_named(
    tmp_path: Path, known: Any
) -> None:
    words = refusal(tmp_path, known, people().drop(columns="age").assign(new=1.5, member="x"))
    assert "column 'age' has vanished" in words
    assert "column 'new' is new" in words
    assert "column 'member' is string, and was boolean" in words
    assert "To train a model of its own, name it: --model-name NAME" in words


def test_missing_values_where_the_model_takes_none_are_counted(tmp_path: Path, known: Any) -> None:
    frame = people()
    frame.loc[:4, "age"] = None
    assert "column 'age' has 5 missing values, and had none" in refusal(tmp_path, known, frame)


def test_other_classes_are_another_model(tmp_path: Path, known: Any) -> None:
    frame = people()
    frame.loc[:20, "stays"] = "perhaps"
    assert "the classes of 'stays' are ['no', 'perhaps', 'yes'], and were ['no', 'yes']" in refusal(
        tmp_path, known, frame
    )


def test_another_target_is_another_model(tmp_path: Path, known: Any) -> None:
    words = refusal(tmp_path, known, people().rename(columns={"stays": "age", "age": "stays"}))
    assert "the target is" not in words  # the same name: what differs are the values
    assert "column 'age' is string, and was double" in words


def test_values_far_out_of_the_range_are_named_and_can_be_accepted(tmp_path: Path, known: Any) -> None:
    frame = people().assign(age=people()["age"] * 100)
    words = refusal(tmp_path, known, frame)
    assert "column 'age' is" in words
    assert "(200 such rows)" in words
    assert "say --new-ranges" in words
    remarks = schema.conform(written(tmp_path, frame), known, "churn", True).remarks
    assert any("accepted as a new range: column 'age'" in remark for remark in remarks)


def test_values_a_little_out_of_the_range_are_nothing_to_tell(tmp_path: Path, known: Any) -> None:
    frame = people()
    frame.loc[0, "age"] = 95.0
    assert schema.conform(written(tmp_path, frame), known, "churn", False)


def test_a_category_that_was_never_seen_is_remarked_on(tmp_path: Path, known: Any) -> None:
    frame = people()
    frame.loc[0, "city"] = "Paris"
    remarks = schema.conform(written(tmp_path, frame), known, "churn", False).remarks
    assert remarks == ["column 'city' has categories that this model has not seen before: Paris"]

"""What each column of a person's table is taken for, what is said of it, and which option decides otherwise."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from contract.errors import Refused
from contract.preparation.steps import Folded
from contract.trust.skops_file import load_skops
from contract.trust.trusted_types import TRUSTED_TYPES
from trainer.data.columns.column_kinds import Encoding, encoding
from trainer.data.files.form import Form
from trainer.data.table import Kind, Table, look_at, read, split
from trainer.errors import DataError
from trainer.fit import algorithms

from tests.unit import hostile_models as hostile

ROWS = 200
DRAWS = np.random.default_rng(0)
SIZE = [f"{value:.1f}" for value in DRAWS.normal(50, 9, ROWS)]


def told(
    folder: Path, values: Sequence[object], name: str = "x", form: Form | None = None, keep: bool = False
) -> Table:
    """Read a table of one column, beside a number and a target, as it is written in CSV."""
    path = folder / "table.csv"
    target = ["yes" if i % 3 else "no" for i in range(len(values))]
    pd.DataFrame({"size": SIZE[: len(values)], name: values, "y": target}).to_csv(path, index=False)
    return read(path, "y", keep=(name,) if keep else (), form=form)


def kind_of(table: Table, name: str = "x") -> Kind | None:
    return next((column.kind for column in table.columns if column.name == name), None)


def drawn(*values: object) -> list[object]:
    """Return the values again and again, in no order."""
    return list(DRAWS.choice(np.array(values, dtype=object), ROWS))


@pytest.mark.parametrize("word", ["?", "unknown", "UNKNOWN", "-", " ", "n/a", " N/A ", "not available", "k.A."])
def test_among_numbers_a_placeholder_is_a_missing_value_which_is_said(tmp_path: Path, word: str) -> None:
    values: list[object] = [word if i % 5 else str(i / 2) for i in range(ROWS)]
    table = told(tmp_path, values)
    assert kind_of(table) is Kind.NUMBER
    assert table.features["x"].isna().sum() == ROWS * 4 // 5
    assert (
        f"column 'x' has 160 missing values, some of them written as {word if word.strip() else repr(word)}"
        in table.remarks
    )


def test_a_column_of_several_placeholders_and_nothing_else_is_text(tmp_path: Path) -> None:
    assert kind_of(told(tmp_path, drawn("?", "-"))) is Kind.TEXT


@pytest.mark.parametrize(
    "values",
    [
        ["40/100", "7/100", "12/100"], ["~40", "~7", "~12"], ["5'11\"", "6'2\"", "5'9\""], ["1_000", "20_000", "3_000"],
        ["40.1 ± 0.3", "7 ± 1", "3 ± 2"], ["٤٠", "٧", "١٢"],
    ],
)  # fmt: skip
def test_text_that_looks_like_numbers_is_said(tmp_path: Path, values: list[str]) -> None:
    (said,) = told(tmp_path, drawn(*values)).remarks
    assert "looks like a number, and is not read as one; write numbers as 1234.5" in said


@pytest.mark.parametrize(
    "values",
    [["A-1", "A-2", "B-7"], ["25-34", "35-44", "45-54"], ["E11.9", "I10", "V27"], ["10.0.0.1", "10.0.0.2", "10.0.0.7"]],
)
def test_codes_and_ranges_are_no_numbers(tmp_path: Path, values: list[str]) -> None:
    assert told(tmp_path, drawn(*values)).remarks == []


def test_what_looks_like_numbers_is_not_left_out_as_an_id_without_a_word(tmp_path: Path) -> None:
    (said,) = told(tmp_path, [f"{i}/100" for i in range(ROWS)]).remarks
    assert said.startswith("column 'x' is left out: it looks like numbers that are not read, such as '0/100'")


def test_an_infinite_number_is_refused_and_missing_where_an_option_says_so(tmp_path: Path) -> None:
    values = ["inf" if i == 3 else str(i) for i in range(ROWS)]
    with pytest.raises(
        DataError, match=r"line 5, column 'x' is inf; expected a finite number .* --number 'x' takes what is none"
    ):
        told(tmp_path, values)
    assert told(tmp_path, values, form=Form(number=("x",))).features["x"].isna().sum() == 1


def test_among_words_a_placeholder_is_a_word(tmp_path: Path) -> None:
    table = told(tmp_path, drawn("?", "Private", "State"))
    assert set(table.features["x"]) == {"?", "Private", "State"}


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ([f"{i:05d}" for i in range(99_900, 99_900 + ROWS)], "some begin with 0"),
        (drawn("01234", "80331", "10115"), "some begin with 0, such as '01234'"),
        (drawn("12", "7", "12a", "31", "44"), "are no numbers, such as '12a' (--number 'x')"),
        (drawn("113803", "PC 17599", "373450", "STON/O2. 3101282"), "is taken as text"),
    ],
    ids=["digits with zeros before them", "postcodes", "house numbers", "tickets"],
)
def test_codes_that_look_like_numbers_are_text_which_is_said(tmp_path: Path, values: list[object], said: str) -> None:
    if said == "some begin with 0":
        values = [f"0{value}" if i % 2 else value for i, value in enumerate(drawn(*(f"{i:04d}" for i in range(50))))]
    table = told(tmp_path, values)
    assert kind_of(table) is Kind.TEXT
    assert table.features["x"].tolist() == values
    assert any(said in remark for remark in table.remarks)


def test_codes_are_found_wherever_in_the_file_they_begin_with_0(tmp_path: Path) -> None:
    path = tmp_path / "late.csv"
    path.write_text("zone,n,y\n" + "80331,10,a\n10115,20,b\n" * 30_000 + "01067,30,a\n" * 2)
    table = read(path, "y")
    assert [column.kind for column in table.columns] == [Kind.TEXT, Kind.NUMBER]
    assert table.features["zone"].iloc[-1] == "01067"


def test_a_telephone_number_keeps_its_plus(tmp_path: Path) -> None:
    table = told(tmp_path, drawn("+41441234567", "+41441234568"))
    assert set(table.features["x"]) == {"+41441234567", "+41441234568"}
    assert "some begin with +" in table.remarks[0]


@pytest.mark.parametrize("name", ["zip", "ZIP code", "postcode", "PostalCode", "plz", "customer_zip", "ShipPostcode"])
def test_a_postcode_is_text_by_its_name(tmp_path: Path, name: str) -> None:
    assert kind_of(told(tmp_path, drawn(80331, 10115, 20095), name), name) is Kind.TEXT


def test_an_option_makes_a_column_text_or_numbers(tmp_path: Path) -> None:
    assert told(tmp_path, drawn(1, 2, 3), form=Form(text=("x",))).features["x"].unique().tolist()[0] in "123"
    assert kind_of(told(tmp_path, drawn("01", "02"), form=Form(number=("x",)))) is Kind.NUMBER
    table = told(tmp_path, drawn("12", "7", "12a"), form=Form(number=("x",)))
    assert set(table.features["x"].dropna()) == {12.0, 7.0}
    assert any("some of them written as 12a" in remark for remark in table.remarks)


def test_a_few_words_among_numbers_are_refused_with_the_options_that_decide(tmp_path: Path) -> None:
    with pytest.raises(DataError) as refused:
        told(tmp_path, ["1.5" if i % 40 else "twelve" for i in range(ROWS)])
    assert (
        "line 2, column 'x' is 'twelve'; expected a finite number (5 such rows): --number 'x' takes what is none as "
        "missing, --text 'x' all as text"
    ) in str(refused.value)


SHUFFLED = DRAWS.permutation(ROWS).tolist()


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("CustomerId", [10_000 + 7 * i for i in SHUFFLED]),
        ("TransactionID", [10_000 + 7 * i for i in SHUFFLED]),
        ("OrderNo", [f"4711{i:04d}" for i in SHUFFLED]),
        ("order number", [10_000 + 7 * i for i in SHUFFLED]),
        ("userid", [10_000 + 7 * i for i in SHUFFLED]),
        ("CustomerId", [None if i % 50 == 0 else 10_000 + 7 * i for i in SHUFFLED]),
        ("CustomerId", [10_000 + 7 * max(i, 4) for i in SHUFFLED]),
        ("account", [f"AC-{i * 7919 % 100_003:06x}" for i in SHUFFLED]),
        ("mail", [f"person{max(i, 5)}@example.org" for i in SHUFFLED]),
    ],
)
def test_what_tells_rows_apart_is_left_out_which_is_said_unless_it_is_kept(
    tmp_path: Path, name: str, values: list[object]
) -> None:
    table = told(tmp_path, values, name)
    assert kind_of(table, name) is None
    (remark,) = [text for text in table.remarks if "left out" in text]
    assert f"column {name!r} is left out" in remark
    assert f"--keep {name!r}" in remark
    assert kind_of(told(tmp_path, values, name, keep=True), name) is not None


@pytest.mark.parametrize("name", ["income", "population", "paid", "Number of rooms", "month"])
def test_a_quantity_is_no_id_however_often_it_differs(tmp_path: Path, name: str) -> None:
    assert kind_of(told(tmp_path, [10_000 + 7 * i for i in SHUFFLED], name), name) is Kind.NUMBER


def workers(folder: Path, spellings: dict[str, list[str]], form: Form | None = None) -> Table:
    """Read a table in which high incomes go with one word, in whatever way it is written."""
    words = [str(DRAWS.choice(spellings[key])) for key in DRAWS.choice(list(spellings), ROWS)]
    path = folder / "workers.csv"
    high = ["high" if word in spellings["private"] else "low" for word in words]
    pd.DataFrame({"workclass": words, "y": high}).to_csv(path, index=False)
    return read(path, "y", form=form)


ALIKE = {
    "private": ["Private", "Private", "private", " Private", "PRIVATE "],
    "state": ["State-gov"],
    "self": ["Self emp"],
}
BLANKS = {"private": [" Private"], "state": [" State-gov"], "self": [" Self-emp"]}


@pytest.mark.parametrize(
    ("spellings", "said"),
    [
        (
            ALIKE,
            "column 'workclass' has values that differ in case or blanks alone, taken for one, such as 'Private', ",
        ),
        (BLANKS, "column 'workclass' has blanks around its values, which count for nothing (--text 'workclass' takes"),
    ],
    ids=["spellings", "blanks around"],
)
def test_values_that_differ_in_case_or_blanks_alone_are_one_in_training_and_in_requests(
    tmp_path: Path, spellings: dict[str, list[str]], said: str
) -> None:
    table = workers(tmp_path, spellings)
    assert table.remarks[0].startswith(said)
    rows = split(table)
    estimator = algorithms.with_preparation(
        algorithms.named("logistic_regression", table.task, {}), table, rows.train_features
    ).fit(rows.train_features, rows.train_target)
    written = ["private", "Private", "  PRIVATE", "state-gov", "Self  emp", "unheard of"]
    likely = estimator.predict_proba(pd.DataFrame({"workclass": written}))[:, 0]
    assert len(set(likely[:3])) == 1
    assert likely[0] > 0.9 > 0.1 > likely[3]
    loaded = load_skops(hostile.dumped(estimator), TRUSTED_TYPES)
    assert np.array_equal(loaded.predict_proba(pd.DataFrame({"workclass": written}))[:, 0], likely)


def test_plain_categories_and_those_that_are_to_be_text_stay_letter_for_letter(tmp_path: Path) -> None:
    plain = {"private": ["Private"], "state": ["State-gov"]}
    for table in (workers(tmp_path, plain), workers(tmp_path, ALIKE, Form(text=("workclass",)))):
        assert table.remarks == []
        prepared = algorithms.with_preparation(
            algorithms.named("logistic_regression", table.task, {}), table, table.features
        )
        assert "Folded" not in repr(prepared)


def test_spellings_that_no_fit_leaves_are_refused() -> None:
    step: Any = Folded().fit(np.array([["a"], ["A"]], dtype=object))
    step.spellings_ = [{"a": 7}]
    with pytest.raises(Refused, match="its spellings are no texts"):
        load_skops(hostile.dumped(step), TRUSTED_TYPES)


def test_more_categories_than_columns_make_sense_for_are_learnt_by_what_they_go_with(tmp_path: Path) -> None:
    shops = [f"shop{i}" for i in range(1500)] * 3
    good = DRAWS.random(1500) < 0.5
    path = tmp_path / "shops.csv"
    pd.DataFrame({"shop": shops, "y": np.where(np.tile(good, 3), "yes", "no")}).sample(frac=1, random_state=0).to_csv(
        path, index=False
    )
    table = read(path, "y")
    assert encoding(table.features["shop"]) is Encoding.MANY
    rows = split(table)
    estimator = algorithms.with_preparation(
        algorithms.named("logistic_regression", table.task, {}), table, rows.train_features
    ).fit(rows.train_features, rows.train_target)
    assert estimator.score(rows.test_features, rows.test_target) > 0.8
    assert len(estimator.predict(pd.DataFrame({"shop": ["a shop that nobody has seen"]}))) == 1


@pytest.mark.parametrize("form", [Form(text=("y",)), Form(number=("y",)), Form(date=("y=day-first",))])
def test_an_option_for_features_that_names_the_target_is_refused(tmp_path: Path, form: Form) -> None:
    with pytest.raises(
        DataError, match="'y' is the target; --drop, --keep, --text, --number and --date are for features"
    ):
        told(tmp_path, drawn(1, 2), form=form)


def test_all_that_is_wrong_with_a_file_is_said_at_once(tmp_path: Path) -> None:
    path = tmp_path / "wrong.parquet"
    frame = pd.DataFrame(
        {
            "a": [1.5 if i % 40 else np.inf for i in range(ROWS)],
            "span": pd.to_timedelta(range(ROWS), "s"),
            "y": ["yes" if i % 3 else None for i in range(ROWS)],
        }
    )
    frame.to_parquet(path)
    with pytest.raises(DataError) as refused:
        read(path, "y")
    for part in ("column 'y' is empty", "row 1, column 'a' is inf", "column 'span' has durations"):
        assert part in str(refused.value)
    look = look_at(path, "y")
    assert len(look.faults) == 3
    assert list(look.left_out) == ["a", "span"]
    assert set(look.table.target) == {"yes", "(empty)"}


def test_a_value_among_numbers_for_people_is_refused_once_and_missing_where_an_option_says_so(tmp_path: Path) -> None:
    values: list[object] = [f"{1000 + i:,}" if i % 20 else "1.2k" for i in range(ROWS)]
    with pytest.raises(DataError) as refused:
        told(tmp_path, values)
    assert str(refused.value).count("line 2, column 'x' is '1.2k'") == 1
    assert "--number 'x' takes what is none as missing" in str(refused.value)
    table = told(tmp_path, values, form=Form(number=("x",)))
    assert table.features["x"].isna().sum() == ROWS // 20
    assert table.features["x"].iloc[1] == 1001


def test_whole_numbers_that_a_double_has_not_are_said_and_an_option_keeps_them_apart(tmp_path: Path) -> None:
    values: list[object] = [2**53 + i % 50 for i in range(ROWS)]
    table = told(tmp_path, values)
    assert table.remarks == [
        "column 'x' has whole numbers beyond 2^53, of which neighbours become one; if they are codes, --text 'x'"
    ]
    assert told(tmp_path, values, form=Form(text=("x",))).features["x"].nunique() == 50

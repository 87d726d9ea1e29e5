"""Dates: from the many ways in which people write them to parts in a pipeline, and from ISO 8601 in requests to the same."""

import re
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from contract.errors import Refused
from contract.preparation import dates
from contract.preparation.steps import DateParts, Words
from contract.schema import column, fault
from contract.trust.skops_file import load_skops
from contract.trust.trusted_types import TRUSTED_TYPES
from trainer.data.columns import column_kinds
from trainer.data.columns.wishes import Wish
from trainer.data.files.form import Form
from trainer.data.table import Kind, Table, read
from trainer.errors import DataError

from tests.unit import hostile_models as hostile

ROWS = 60
SIZE = np.random.default_rng(0).normal(size=200)
DAYS = pd.date_range("2023-01-09", periods=ROWS, freq="11D")


def told(folder: Path, values: Sequence[str | None], date: str | None = None) -> Table:
    """Read a table with a column of dates, as it is written in CSV."""
    path = folder / "dates.csv"
    target = ["yes" if i % 3 else "no" for i in range(len(values))]
    pd.DataFrame({"size": SIZE[: len(values)], "day": values, "y": target}).to_csv(path, index=False)
    return read(path, "y", form=Form(date=(date,) if date else ()))


@pytest.mark.parametrize(
    "written",
    [
        "%Y-%m-%d", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%d %H:%M", "%Y-%m-%dT00:00:00Z", "%Y/%m/%d", "%d.%m.%Y", "%d/%m/%Y",
        "%m/%d/%Y", "%d-%m-%Y", "%m/%d/%Y 12:00 AM", "%d %b %Y", "%d-%b-%Y", "%d/%b/%Y", "%B %d, %Y", "%a, %d %b %Y", "%A, %B %d, %Y",
        "%d.%m.%y", "%d/%m/%y", "%m/%d/%y", "%d-%m-%y 00:00", "%d-%b-%y", "%Y%m%d",
    ],
)  # fmt: skip
def test_dates_are_read_as_they_are_written(tmp_path: Path, written: str) -> None:
    table = told(tmp_path, list(DAYS.strftime(written)))
    assert [column.kind for column in table.columns] == [Kind.NUMBER, Kind.DATE]
    assert table.features["day"].tolist() == DAYS.tolist()
    is_iso = written.startswith("%Y-")
    assert is_iso == (not any("has dates written" in remark for remark in table.remarks))


@pytest.mark.parametrize(
    "months",
    [
        "Jan. Feb. März April Mai Juni Juli Aug. Sept. Okt. Nov. Dez.",
        "Januar Februar März April Mai Juni Juli August September Oktober November Dezember",
        "ene feb mar abr may jun jul ago sep oct nov dic",
        "enero febrero marzo abril mayo junio julio agosto septiembre octubre noviembre diciembre",
        "janvier février mars avril mai juin juillet août septembre octobre novembre décembre",
        "janv. févr. mars avr. mai juin juil. août sept. oct. nov. déc.",
        "gennaio febbraio marzo aprile maggio giugno luglio agosto settembre ottobre novembre dicembre",
        "gen feb mar apr mag giu lug ago set ott nov dic",
        "janeiro fevereiro março abril maio junho julho agosto setembro outubro novembro dezembro",
        "jan fev mar abr mai jun jul ago set out nov dez",
        "januari februari maart april mei juni juli augustus september oktober november december",
        "jan feb mrt apr mei jun jul aug sep okt nov dec",
        "JANVIER FEVRIER MARS AVRIL MAI JUIN JUILLET AOUT SEPTEMBRE OCTOBRE NOVEMBRE DECEMBRE",
    ],
)
def test_months_may_have_the_names_of_seven_languages(tmp_path: Path, months: str) -> None:
    names, days = months.split(), DAYS[::2]
    forms = ("{}. {} {}", "{} {} {}", "{} de {} de {}")
    columns = {form: [form.format(day.day, names[day.month - 1], day.year) for day in days] for form in forms}
    pd.DataFrame({**columns, "y": ["yes", "no"] * (len(days) // 2)}).to_csv(tmp_path / "dates.csv", index=False)
    features = read(tmp_path / "dates.csv", "y").features
    assert {form: features[form].tolist() for form in features} == dict.fromkeys(forms, days.tolist())


@pytest.mark.parametrize(
    ("written", "day"),
    [
        ("1er août 2021", "2021-08-01"), ("dimanche 1er août 2021", "2021-08-01"), ("1º de agosto de 2021", "2021-08-01"),
        ("1° agosto 2021", "2021-08-01"), ("segunda-feira, 2 de agosto de 2021", "2021-08-02"), ("3 août 2021, 14:30", "2021-08-03 14:30"),
        ("le 15 août 2021", "2021-08-15"), ("Mo, 2. Aug. 2021", "2021-08-02"), ("août 2021", "2021-08-01"), ("agosto de 2021", "2021-08-01"), ("15-ago-21", "2021-08-15"),
    ],
)  # fmt: skip
def test_first_days_weekdays_and_months_alone_are_read_in_the_way_of_each_language(
    tmp_path: Path, written: str, day: str
) -> None:
    values = [written if i % 2 else "2 mai 2021" for i in range(ROWS)]
    assert told(tmp_path, values).features["day"].iloc[1] == pd.Timestamp(day)


@pytest.mark.parametrize(
    "values", [["12 marca 2024", "3 sierpnia 2023"], ["12 марта 2024", "3 августа 2023"], ["2. maj 2024", "3. marts 2023"]]
)  # fmt: skip
def test_dates_in_a_language_that_is_not_read_are_text_which_is_said(tmp_path: Path, values: list[str]) -> None:
    table = told(tmp_path, values * 20)
    assert table.columns[1].kind is Kind.TEXT
    (remark,) = table.remarks
    assert "looks like a date or a time, and is not read as one; write dates as 2026-03-15" in remark


@pytest.mark.parametrize(
    "values",
    [
        ["5-MAG-72", "12-MAG-14", "28-OUT-28"], ["18 out 38", "3 out 14"], ["Mars 2015", "Mars 2016"],
        ["Prius Gen 3 2006", "Golf Gen 1 2010"], ["Trek Gen 2010", "Trek Gen 2011"], ["Veronica Mars 2004", "Bruno Mars 2005"], ["Marco 2001", "Marco 2002"],
        ["Mazda 3 Sedan 2005", "BMW 3er Touring 2006"], ["Marco Rossi 3", "Marco Rossi 4"], ["Lego Set 2000", "Lego Set 2001"],
    ],
)  # fmt: skip
def test_what_has_a_word_that_is_also_a_month_is_no_date(tmp_path: Path, values: list[str]) -> None:
    table = told(tmp_path, values * 20)
    assert (table.columns[1].kind, table.remarks) == (Kind.TEXT, [])


def test_a_street_that_is_called_after_a_day_is_no_date(tmp_path: Path) -> None:
    assert told(tmp_path, ["Rua 25 de Março 45", "Rua 7 de Abril 12"] * 20).columns[1].kind is Kind.TEXT


def test_months_that_are_other_words_too_are_months_beside_others(tmp_path: Path) -> None:
    table = told(tmp_path, ["3 mars 2024", "4 avril 2024", "5-OUT-24", "5-NOV-24"] * 20)
    assert table.features["day"].iloc[0] == pd.Timestamp("2024-03-03")
    (remark,) = told(tmp_path, ["1/set/2024", "2/set/2024"] * 20).remarks
    assert "looks like a date or a time, and is not read as one" in remark


@pytest.mark.parametrize(
    ("values", "first"),
    [
        (["12 mars 2024", "13 mars 2024"], "2024-03-12"), (["12 out 2024", "3 set 2023"], "2024-10-12"), (["Marco 2001", "Marco 2002"], "2001-03-01"),
        (["5-MAG-14", "12-MAG-14"], "2014-05-05"), (["01/Set/2024", "12/Set/2024"], "2024-09-01"),
    ],
)  # fmt: skip
def test_months_that_are_other_words_too_are_months_where_dates_are_asked_for(
    tmp_path: Path, values: list[str], first: str
) -> None:
    assert told(tmp_path, values * 20, "day").features["day"].iloc[0] == pd.Timestamp(first)


@pytest.mark.parametrize("many", [1, 30])
def test_where_an_option_reads_what_looks_like_dates_it_is_named(tmp_path: Path, many: int) -> None:
    """Both of a column that is taken as text, and of one that is left out as each row has its own."""
    values = [f"{day} mars {year}" for year in range(2024, 2024 - many, -1) for day in (12, 13)]
    (remark,) = told(tmp_path, values * (20 if many == 1 else 1)).remarks
    assert "--date 'day' takes them as dates" in remark


@pytest.mark.parametrize("values", [["3 out of 5", "4 out of 5"], ["Set of 3", "Set of 12"], ["Gen 2", "Gen 12"]])
def test_of_words_that_are_also_months_nothing_is_said(tmp_path: Path, values: list[str]) -> None:
    assert told(tmp_path, values * 20).remarks == []


@pytest.mark.parametrize(
    ("first", "said"), [("1951-05-20", "years 1951 to 2008"), ("2020-01-05", "years 2020 to 2029")]
)
def test_years_of_two_digits_are_those_that_follow_one_another_which_is_said(
    tmp_path: Path, first: str, said: str
) -> None:
    days = pd.date_range(first, periods=ROWS, freq="353D" if "51" in said else "60D")
    table = told(tmp_path, list(days.strftime("%d.%m.%y")))
    assert table.features["day"].tolist() == days.tolist()
    (remark,) = table.remarks
    assert said in remark


def test_a_day_that_may_be_the_year_is_refused_and_an_option_tells(tmp_path: Path) -> None:
    values = list(DAYS.strftime("%y/%m/%d"))
    with pytest.raises(DataError, match="no value tells the day from the year; with the year first, write 2026-03-15"):
        told(tmp_path, values)
    assert told(tmp_path, values, "day=day-first").columns[1].kind is Kind.DATE


def test_a_year_may_be_first_before_points_too_and_a_version_is_no_date_unseen(tmp_path: Path) -> None:
    for values in (list(DAYS.strftime("%y.%m.%d")), ["10.12.15", "11.10.20", "12.11.13"] * 10):
        with pytest.raises(
            DataError, match=r"no value tells the day from the year; .*--date 'day=day-first'.*--text 'day'"
        ):
            told(tmp_path, values)
    assert told(tmp_path, ["22.11.13"] * 30, "day=day-first").features["day"].iloc[0] == pd.Timestamp("2013-11-22")


@pytest.mark.parametrize(
    "days", [["15.03.26", "16.03.26"], ["1.3.2026"], ["01.03.21", "01.04.22"], ["30.06.22", "31.03.23", "28.02.26"]]
)
def test_the_day_is_first_before_points_where_years_are_few_or_it_is_the_months_first_or_last(
    tmp_path: Path, days: list[str]
) -> None:
    table = told(tmp_path, [*days, "01.05.24" if days[0][:2] == "01" else "31.01.24"] * 20)
    assert table.columns[1].kind is Kind.DATE
    assert table.features["day"].iloc[0].strftime("%d.%m.%Y") == pd.to_datetime(
        days[0], dayfirst=True, format="mixed"
    ).strftime("%d.%m.%Y")


@pytest.mark.parametrize(
    ("years", "written", "said", "last"),
    [
        (
            range(21, 55),
            "15.06.{}",
            "may be 1921 to 1954 or 2021 to 2054; .*'day=until-1954' or .*'day=until-2054'",
            2054,
        ),
        (range(100), "15.06.{}", "no gap between them tells which is the last one; say which by .*'day=until-20", 2024),
        ((24, 75), "15 Jun {}", "no gap between them tells which is the last one", 2075),
    ],
    ids=["of either century", "of all a century", "of which two orders are as likely"],
)
def test_years_of_two_digits_that_may_be_of_two_centuries_are_refused_and_an_option_tells(
    tmp_path: Path, years: Sequence[int], written: str, said: str, last: int
) -> None:
    values = [written.format(f"{years[i % len(years)]:02}") for i in range(max(20, len(years)))]
    with pytest.raises(DataError, match=said):
        told(tmp_path, values)
    found = told(tmp_path, values, f"day=until-{last}").features["day"]
    assert (found.dt.year.max(), set(found.dt.year % 100)) == (last, set(years))


def test_an_option_tells_the_order_and_the_last_year(tmp_path: Path) -> None:
    values = [f"03/04/{year:02}" for year in range(21, 55)]
    with pytest.raises(DataError, match="--date 'day=day-first,until-1954' or --date 'day=day-first,until-2054'"):
        told(tmp_path, values, "day=day-first")
    with pytest.raises(DataError, match="--date 'day=day-first,until-2054' or --date 'day=month-first,until-2054'"):
        told(tmp_path, values, "day=until-2054")
    found = told(tmp_path, values, "day=day-first,until-2054").features["day"]
    assert found.tolist() == list(pd.to_datetime([f"{year}-04-03" for year in range(2021, 2055)]))


def test_years_of_two_digits_go_on_where_one_gap_is_wide(tmp_path: Path) -> None:
    years = [*range(30, 100), *range(25)]
    found = told(tmp_path, [f"15.06.{year:02}" for year in years]).features["day"]
    assert found.dt.year.tolist() == list(range(1930, 2025))


def test_numbers_of_eight_digits_are_dates_where_each_is_one_and_an_option_says_otherwise(tmp_path: Path) -> None:
    values = [text if i % 7 else None for i, text in enumerate(DAYS.strftime("%Y%m%d"))]
    table = told(tmp_path, values)
    assert table.features["day"].tolist()[1:3] == DAYS.tolist()[1:3]
    assert table.features["day"].isna().sum() == 9
    frame = pd.DataFrame({"day": DAYS.strftime("%Y%m%d").astype(int), "y": ["yes", "no"] * (ROWS // 2)})
    frame.to_csv(tmp_path / "numbers.csv", index=False)
    assert read(tmp_path / "numbers.csv", "y", form=Form(number=("day",))).columns[0].kind is Kind.NUMBER
    frame["day"] += 50  # of some there are 60 and more days in a month
    frame.to_csv(tmp_path / "numbers.csv", index=False)
    assert read(tmp_path / "numbers.csv", "y").columns[0].kind is Kind.NUMBER


@pytest.mark.parametrize("written", ["%H:%M", "%I:%M %p", "%b-%y"])
def test_what_looks_like_a_date_or_a_time_and_is_read_as_text_is_said(tmp_path: Path, written: str) -> None:
    moments = pd.date_range("2024-03-01 08:00", periods=20, freq="31D3h")
    values = list(moments.strftime(written)) * 3
    table = told(tmp_path, values)
    assert table.columns[1].kind is Kind.TEXT
    (remark,) = table.remarks
    assert remark.startswith("column 'day' is taken as text: '")
    assert remark.endswith("and is not read as one; write dates as 2026-03-15, and times as numbers")


@pytest.mark.parametrize(
    "written", ["%d.%m.%Y, %H:%M", "%d.%m.%Y - %H:%M", "%d.%m.%Y %H:%M Uhr", "%Y%m%d%H%M", "%Y%m%d%H%M%S"]
)
def test_a_time_is_read_behind_a_day_however_it_is_set_off(tmp_path: Path, written: str) -> None:
    moments = pd.date_range("2023-01-05", periods=40, freq="37h")
    assert told(tmp_path, list(moments.strftime(written))).features["day"].tolist() == moments.tolist()


@pytest.mark.parametrize("written", ["%m/%Y", "%m.%Y", "%m-%Y", "%Y%m"])
def test_a_month_is_its_first_day(tmp_path: Path, written: str) -> None:
    months = pd.date_range("2023-01-01", periods=40, freq="MS")
    assert told(tmp_path, list(months.strftime(written))).features["day"].tolist() == months.tolist()


def numbered(folder: Path, name: str, numbers: Sequence[Any], form: Form | None = None) -> Table:
    """Read a table with a column of numbers."""
    frame = pd.DataFrame({name: numbers, "size": SIZE[: len(numbers)], "y": ["a", "b"] * (len(numbers) // 2)})
    frame.to_csv(folder / "numbers.csv", index=False)
    return read(folder / "numbers.csv", "y", form=form)


@pytest.mark.parametrize("name", ["date", "Order Date", "birthday", "Rechnungsdatum", "fecha", "DÍA"])
def test_days_of_a_spreadsheet_are_said_where_a_name_tells_and_an_option_makes_dates_of_them(
    tmp_path: Path, name: str
) -> None:
    moments = pd.date_range("2023-03-15 12:00", periods=40, freq="37h")
    days = [45000.5 + i * 37 / 24 for i in range(40)]
    table = numbered(tmp_path, name, days)
    assert table.columns[0].kind is Kind.NUMBER
    assert table.remarks == [
        f"column {name!r} is taken as numbers; if they are days as a spreadsheet counts them, --date {name!r} takes them as dates"
    ]
    table = numbered(tmp_path, name, days, Form(date=(name,)))
    assert table.features[name].tolist() == moments.tolist()
    assert "45000.5 (2023-03-15T12:00:00)" in table.remarks[0]
    table = numbered(tmp_path, name, ["not known", *days[1:]], Form(date=(name,)))
    assert table.features[name].tolist()[1:] == moments.tolist()[1:]


@pytest.mark.parametrize(
    ("name", "numbers"),
    [("price", range(45000, 45040)), ("day", range(0, 80, 2)), ("date", range(2001, 2041)), ("response_time", range(45000, 45040))],
)  # fmt: skip
def test_of_numbers_that_are_no_dates_nothing_is_said(tmp_path: Path, name: str, numbers: range) -> None:
    assert numbered(tmp_path, name, [*numbers]).remarks == []


def test_dates_of_six_digits_and_few_of_eight_are_said_where_a_name_tells(tmp_path: Path) -> None:
    said = "is taken as numbers, which look like dates without separators, such as"
    (remark,) = numbered(tmp_path, "datum", [*DAYS.strftime("%y%m%d").astype(int)]).remarks
    assert remark == f"column 'datum' {said} 230109; to have dates, write them as 2026-03-15"
    (remark,) = numbered(tmp_path, "date", [*DAYS[1:].strftime("%Y%m%d").astype(int), 99999999]).remarks
    assert remark.startswith(f"column 'date' {said} 20230120")
    few = [20260315, 20260316] * 20
    (remark,) = numbered(tmp_path, "date", few).remarks
    assert remark.endswith("if they are dates such as 20260315, --date 'date' takes them as dates")
    assert numbered(tmp_path, "date", few, Form(date=("date",))).columns[0].kind is Kind.DATE


@pytest.mark.parametrize(("per_second", "unit"), [(1, "seconds"), (1000, "milliseconds")])
def test_time_since_1970_is_said_where_a_name_tells_and_an_option_makes_dates_of_it(
    tmp_path: Path, per_second: int, unit: str
) -> None:
    moments = pd.date_range("2023-01-05", periods=40, freq="37h")
    frame = pd.DataFrame({"created_at": [int(m.timestamp()) * per_second for m in moments], "y": ["a", "b"] * 20})
    frame.to_csv(tmp_path / "t.csv", index=False)
    table = read(tmp_path / "t.csv", "y")
    assert table.columns[0].kind is Kind.NUMBER
    assert table.remarks == [
        f"column 'created_at' is taken as numbers; if they are {unit} since 1970, --date 'created_at' takes them as dates"
    ]
    table = read(tmp_path / "t.csv", "y", form=Form(date=("created_at",)))
    assert table.features["created_at"].tolist() == moments.tolist()


@pytest.mark.parametrize("values", [[1.5, 2.5], ["soon", "later"]])
def test_an_option_makes_no_dates_of_what_has_none(tmp_path: Path, values: list[Any]) -> None:
    with pytest.raises(DataError, match=r"column 'day' (is|has numbers such as) .*2026-03-15"):
        told(tmp_path, values * 20, date="day")


def test_words_beside_dates_are_refused_with_the_options_that_decide(tmp_path: Path) -> None:
    days = [f"2024-01-{1 + i % 28:02}" if i % 4 else "ongoing" for i in range(40)]
    with pytest.raises(
        DataError, match=r"line 2, column 'day' is 'ongoing'; expected a date \(10 such rows\): --date 'day' takes"
    ):
        told(tmp_path, days)


def test_durations_are_not_left_out_as_an_id(tmp_path: Path) -> None:
    (remark,) = told(tmp_path, [f"{i}:{i * 7 % 60:02d}:30" for i in range(ROWS)]).remarks
    assert remark.startswith("column 'day' is left out: it looks like dates or times that are not read, such as '")
    assert "; write dates as 2026-03-15, and times as numbers (--keep 'day'" in remark


def test_a_time_of_day_counts_and_one_with_a_zone_is_counted_in_utc(tmp_path: Path) -> None:
    table = told(tmp_path, ["2024-03-15T08:30:00+02:00", "2024-03-15T08:30:00.5Z"] * 20)
    assert table.features["day"].tolist()[:2] == [
        pd.Timestamp("2024-03-15 06:30"),
        pd.Timestamp("2024-03-15 08:30:00.5"),
    ]
    table = told(tmp_path, ["15/03/2024 1:05 pm", "16/03/2024 12:10 AM"] * 20)
    assert table.features["day"].tolist()[:2] == [pd.Timestamp("2024-03-15 13:05"), pd.Timestamp("2024-03-16 00:10")]


def test_placeholders_among_dates_are_missing_which_is_said(tmp_path: Path) -> None:
    table = told(tmp_path, ["2024-03-15", "unknown", "9999-12-31", None] * 10)
    assert table.columns[1].missing
    assert table.features["day"].isna().sum() == 20
    assert table.features["day"].iloc[2].year == 9999
    assert "column 'day' has 20 missing values, some of them written as unknown" in table.remarks


DOUBTFUL = ["03/04/2024", "05/06/2024", "07/08/2024"] * 10


def test_day_and_month_that_no_value_tells_apart_are_refused_and_an_option_tells(tmp_path: Path) -> None:
    with pytest.raises(DataError) as refused:
        told(tmp_path, DOUBTFUL)
    assert (
        "no value tells the day from the month; say which by --date 'day=day-first' or --date 'day=month-first'"
        in str(refused.value)
    )
    assert told(tmp_path, DOUBTFUL, "day=day-first").features["day"].iloc[0] == pd.Timestamp("2024-04-03")
    assert told(tmp_path, DOUBTFUL, "day=month-first").features["day"].iloc[0] == pd.Timestamp("2024-03-04")


def test_two_orders_in_one_column_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="some have the day first and some the month: '15/03/2024', '03/16/2024'"):
        told(tmp_path, ["15/03/2024", "03/16/2024"] * 20)


def test_a_day_that_there_is_not_is_refused_with_its_line_unless_it_is_to_be_missing(tmp_path: Path) -> None:
    values: list[str | None] = ["31.02.2024" if i == 5 else day for i, day in enumerate(DAYS.strftime("%d.%m.%Y"))]
    with pytest.raises(
        DataError, match=re.escape("line 7, column 'day' is '31.02.2024'; expected a date (1 such row)")
    ):
        told(tmp_path, values)
    assert told(tmp_path, values, "day").features["day"].isna().sum() == 1


@pytest.mark.parametrize(
    "values", [["1.2.10", "1.3.4"], ["12-14", "3-5"], ["A-1-2024", "B-2-2024"], ["may 1", "june 2"]]
)
def test_what_only_resembles_dates_is_text(tmp_path: Path, values: list[str]) -> None:
    assert told(tmp_path, [*values] * 20).columns[1].kind is Kind.TEXT


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
def test_dates_of_parquet_are_taken_in_every_unit_and_zone(tmp_path: Path, unit: str) -> None:
    frame = pd.DataFrame({"day": DAYS.astype(f"datetime64[{unit}]"), "y": ["yes", "no"] * (ROWS // 2)})
    frame["zoned"] = frame["day"].dt.tz_localize("Europe/Zurich")
    frame["plain"] = frame["day"].dt.date
    frame.to_parquet(tmp_path / "dates.parquet")
    table = read(tmp_path / "dates.parquet", "y")
    assert [column.kind for column in table.columns] == [Kind.DATE] * 3
    assert {str(dtype) for dtype in table.features.dtypes} == {"datetime64[us]"}
    assert table.features["plain"].tolist() == DAYS.tolist()
    assert table.features["zoned"].iloc[0] == pd.Timestamp("2023-01-08 23:00")


def test_a_date_becomes_those_of_its_parts_that_vary_and_the_days_since_the_first() -> None:
    frame = pd.DataFrame({"day": pd.to_datetime(pd.Series(["2024-01-01", "2024-02-29", None, "2024-03-02"]))})
    step = DateParts().fit(frame)
    assert step.get_feature_names_out().tolist() == ["day_days", "day_month", "day_day", "day_weekday"]
    assert step.transform(frame).tolist()[:2] == [[0, 1, 1, 0], [59, 2, 29, 3]]
    assert np.isnan(step.transform(frame)[2]).all()
    texts = pd.DataFrame({"day": ["2024-01-01T00:00:00Z", "2024-02-29", None, "2024-03-02"]})
    assert np.array_equal(step.transform(texts), step.transform(frame), equal_nan=True)
    round_ = DateParts(cyclic=True).fit(frame)
    assert round_.transform(frame).shape == (4, len(round_.get_feature_names_out()))


@pytest.mark.parametrize(
    "text", ["2026-03-15", "2026-03-15T08:30:00", "2026-03-15T08:30:00.25+05:30", "0001-01-01", "9999-12-31"]
)
def test_what_is_written_out_is_read_as_the_same_moment(text: str) -> None:
    moment = datetime(1970, 1, 1) + dates.microseconds(text) * dates.MICROSECOND
    assert dates.microseconds(dates.iso(moment)) == dates.microseconds(text)


@pytest.mark.parametrize(
    ("value", "instead"),
    [
        ("31.12.2025", "2025-12-31"),
        ("3.4.2025", "2025-04-03"),
        ("15/03/2024 08:30", "2024-03-15T08:30"),
        ("3/15/2024", "2024-03-15"),
        ("3/4/2024", "2024-04-03 or 2024-03-04"),
        ("4-4-2024", "2024-04-04"),
        ("31.02.2025", None),
        ("today", None),
    ],
)
def test_a_date_as_people_write_it_is_refused_with_the_text_to_send(value: str, instead: str | None) -> None:
    said = fault(value, column("day", "datetime", True))
    assert said is not None
    assert said.partition(" or null")[2] == (f" (write {instead})" if instead else "")
    assert all(dates.is_one(text) for text in instead.split(" or ")) if instead else True


def broken(**changes: Any) -> bytes:
    step = DateParts().fit(pd.DataFrame({"day": DAYS}))
    for name, value in changes.items():
        setattr(step, name, value)
    return hostile.dumped(step)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"parts_": [["century"]]}, "it has a part that dates do not have"),
        ({"parts_": []}, "it has not parts for each column"),
        ({"first_": ["2024"]}, "a first date is no number"),
        ({"cyclic": 7}, "it has not parts for each column"),
    ],
)
def test_a_state_that_no_fit_leaves_is_refused(changes: dict[str, Any], said: str) -> None:
    assert load_skops(broken(), TRUSTED_TYPES).transform(pd.DataFrame({"day": DAYS})).shape[0] == ROWS
    with pytest.raises(Refused, match=said):
        load_skops(broken(**changes), TRUSTED_TYPES)


def test_a_step_that_reads_texts_without_a_limit_is_refused() -> None:
    step = Words(most_characters=10**9).fit([["a"]])
    with pytest.raises(Refused, match="it reads texts without a limit"):
        load_skops(hostile.dumped(step), TRUSTED_TYPES)


@pytest.mark.parametrize(
    ("texts", "kind"), [(["01.2023", "11.2011"], Kind.DATE), (["10.1952", "11.2011"], Kind.NUMBER)]
)
def test_a_month_before_a_point_is_told_from_a_number_by_the_zeros_of_some(texts: list[str], kind: Kind) -> None:
    column = pd.Series(texts * 20, name="a", dtype="str")
    assert column_kinds.tell(column, Wish(), keep=False, is_typed=False).kind == kind

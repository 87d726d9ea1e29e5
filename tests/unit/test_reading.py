"""What files of all kinds become: the rows and numbers that a person means, or a refusal that says how to go on."""

import datetime
import gzip
import io
import warnings
import zipfile
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from pyarrow import feather, parquet
from trainer import memory
from trainer.data import reading
from trainer.data.files import csv_table
from trainer.data.files.form import Form
from trainer.data.files.rows import Rows
from trainer.errors import DataError, SettingsError

from tests.unit.workbooks import MAIN, Cell, workbook

DAY = datetime.date(2026, 1, 31)
Values = dict[str, list[Any]]
AB: Values = {"a": [1, 2], "b": ["x", "y"]}


def rows_of(folder: Path, content: str | bytes, name: str = "table.csv", **form: Any) -> Rows:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return read(path, **form)


def read(path: Path, **form: Any) -> Rows:
    """Read a file, and refuse it where a training would."""
    rows = reading.read(path, Form(**form))
    if rows.faults:
        raise DataError(f"{path} {'; '.join(rows.faults)}")
    return rows


def values(rows: Rows) -> Values:
    """Return the columns' values, None where one is missing."""
    return {
        str(name): column.astype(object).where(column.notna(), None).to_list() for name, column in rows.frame.items()
    }


def refusal(folder: Path, content: str | bytes, name: str = "table.csv", **form: Any) -> str:
    with pytest.raises(DataError) as refused:
        rows_of(folder, content, name, **form)
    said = str(refused.value)
    assert said.startswith(str(folder / name))
    assert "\n" not in said
    return said.removeprefix(f"{folder / name}").strip()


@pytest.mark.parametrize(("code", "number"), [("63E6", "63000000"), ("1e3", "1000")])
def test_a_number_with_a_power_that_may_be_a_code_is_said_and_can_be_left_as_it_is_written(
    tmp_path: Path, code: str, number: str
) -> None:
    content = f"part,size\n12,1.5e-3\n{code},2.5e+3\n"
    rows = rows_of(tmp_path, content)
    assert values(rows) == {"part": [12, float(number)], "size": [0.0015, 2500]}
    assert rows.remarks == [f"read as: {code!r} in 'part' as {number} (--text 'part' where it is a code)"]
    assert values(rows_of(tmp_path, content, text=("part",)))["part"] == ["12", code]


# --- large files, which pandas reads in parts -----------------------------------------------------------------------

# From 5 MB on it reads on all cores; then each part tells the types of its own.
LARGE = 60_000
TOWN = "Bern" * 20  # long, so that few lines are a large file


def large(**last: str) -> str:
    """Return a CSV file of more than 5 MB whose last row is another one."""
    rows = [f"{number},{number}.5,true,,{TOWN}" for number in range(LARGE)]
    other = ",".join(
        last.get(name, value) for name, value in zip("abcde", ("1", "2.5", "true", "", "Bern"), strict=True)
    )
    return "\n".join(["a,b,c,d,e", *rows, other]) + "\n"


def test_a_large_file_is_read_as_a_small_one_is(tmp_path: Path) -> None:
    frame = rows_of(tmp_path, large()).frame
    assert (tmp_path / "table.csv").stat().st_size > 5 * 1024 * 1024
    assert len(frame) == LARGE + 1
    assert [str(dtype) for dtype in frame.dtypes] == ["int64", "float64", "bool", "float64", "str"]
    assert frame["a"].tolist() == [*range(LARGE), 1]
    assert frame["d"].isna().all()


def test_a_word_at_the_end_of_a_large_file_leaves_the_numbers_before_it_as_they_are_written(tmp_path: Path) -> None:
    frame = rows_of(tmp_path, large(a="x", b="two", c="maybe", d="late")).frame
    assert frame.iloc[0].fillna("").tolist() == ["0", "0.5", "true", "", TOWN]
    assert frame.iloc[-1].tolist() == ["x", "two", "maybe", "late", "Bern"]
    assert set(frame["a"].map(type)) == {str}


@pytest.mark.parametrize(
    ("last", "said"),
    [
        (
            {"e": "Bern,more"},
            f"line {LARGE + 2} has 6 fields; the header has 5 (a value with a comma in it needs quotes)",
        ),
        ({"e": "Be\0rn"}, "is no text: it has zero bytes"),
        ({"e": '"Bern'}, f"line {LARGE + 2} has a quote that is not closed"),
    ],
)
def test_a_fault_at_the_end_of_a_large_file_is_told_with_its_line(
    tmp_path: Path, last: dict[str, str], said: str
) -> None:
    assert refusal(tmp_path, large(**last)) == said


# --- CSV as people have it -----------------------------------------------------------------------------------------

WRITTEN: dict[str, tuple[str | bytes, Values, str]] = {
    "commas": ("a,b\n1,x\n2,y\n", AB, ""),
    "semicolons": ("a;b\n1;x\n2;y\n", AB, "separator ';'"),
    "tabs": ("a\tb\n1\tx\n2\ty\n", AB, r"separator '\t'"),
    "pipes": ("a|b\n1|x\n2|y\n", AB, "separator '|'"),
    "a line that tells the separator": ("sep=;\r\na;b\r\n1;x\r\n2;y\r\n", AB, "separator ';'"),
    "CR alone": ("a,b\r1,x\r2,y\r", AB, ""),
    "CR and LF": ("a,b\r\n1,x\r\n2,y", AB, ""),
    "UTF-8 with its mark": (b"\xef\xbb\xbfa,b\n1,x\n2,y\n", AB, ""),
    "UTF-16": ("a,b\n1,x\n2,y\n".encode("utf-16"), AB, "UTF-16"),
    "UTF-16 without a mark": ("a,b\n1,x\n2,y\n".encode("utf-16-le"), AB, "UTF-16-LE"),
    "Latin-1": ("a\né\nß\n".encode("latin-1"), {"a": ["é", "ß"]}, "Windows-1252 (line 2 has 'é')"),
    "Windows-1252": ("a;b\n1;3 €\n".encode("cp1252"), {"a": [1], "b": [3.0]}, "Windows-1252 (line 2 has '1;3 €'), separator ';'"),
    "comments": ("# by x, y\n#\na,b\n1,x\n# half\n2,y\n", AB, "lines that begin with '#' left out"),
    "names after the mark of a comment": ("#a\tb\n1\tx\n2\ty\n", {"#a": [1, 2], "b": ["x", "y"]}, r"separator '\t'"),
    "a row like a comment": ("# by x\na,b\n#1,x\n", {"a": ["#1"], "b": ["x"]}, "lines that begin with '#' left out"),
    "a separator of lines that is none": ("# x\na,b\n1,x\u2028#y\n", {"a": [1], "b": ["x\u2028#y"]}, "lines that begin with '#' left out"),
    "a hash in quotes": ('# x\na,b\n1,"x\n#y"\n', {"a": [1], "b": ["x\n#y"]}, "lines that begin with '#' left out"),
    "blanks after commas": ('a, b\n1, x\n2, "y"\n', AB, "blanks after separators left out"),
    "blanks around names": (" a\xa0,b \n1,x\n2,y\n", AB, "blanks around 'a', 'b' left out"),
    "no name": (",a,\n0,1,x\n", {"Unnamed: 0": [0], "a": [1], "Unnamed: 2": ["x"]}, "columns without a name called 'Unnamed: 0', 'Unnamed: 2'"),
    "separators in quotes": ('a,b\n1,"x;y;z"\n2,"u;v;w"\n', {"a": [1, 2], "b": ["x;y;z", "u;v;w"]}, ""),
    "decimal commas": ("a;b\n1,5;2,25\n0,5;3\n", {"a": [1.5, 0.5], "b": [2.25, 3.0]}, "separator ';', decimal ','"),
    "postcodes": ("zip\n01234\n81234\n", {"zip": ["01234", "81234"]}, ""),
}  # fmt: skip


@pytest.mark.parametrize(("content", "expected", "said"), WRITTEN.values(), ids=WRITTEN)
def test_a_csv_file_is_read_as_it_is_meant_and_what_is_not_usual_is_said(
    tmp_path: Path, content: str | bytes, expected: Values, said: str
) -> None:
    rows = rows_of(tmp_path, content)
    assert values(rows) == expected
    assert " ".join(rows.remarks).removeprefix("read as: ").partition(", 1 column of numbers")[0] == said


def test_a_quote_behind_a_backslash_is_refused_and_a_path_is_none(tmp_path: Path) -> None:
    said = refusal(tmp_path, 'a,b\n"say \\"hi\\", then",1\n')
    assert said.endswith('CSV has two quotes for one: write "" for each \\"')
    assert values(rows_of(tmp_path, 'a,b\n"C:\\",1\n"say ""hi""",2\n'))["a"] == ["C:\\", 'say "hi"']


@pytest.mark.parametrize("size", range(20, 60, 5))
def test_what_is_only_told_by_the_first_rows_holds_wherever_they_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    monkeypatch.setattr(csv_table, "SAMPLE", size)
    content = "note;zip;price\n" + '"one\n\ntwo;";81234;"1,5"\n' * 20 + '"";01234;2,5\n;NA;\n'
    rows = values(rows_of(tmp_path, content, words=("zip",)))
    assert rows["note"] == ["one\n\ntwo;"] * 20 + [None] * 2
    assert rows["zip"] == ["81234"] * 20 + ["01234", "NA"]
    assert rows["price"] == [1.5] * 20 + [2.5, None]


def test_codes_that_begin_with_0_are_kept_though_only_late_ones_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(csv_table, "SAMPLE", 100)
    content = "zip,year,age\n" + "81234,2019,12\n" * 20 + "01234,2026,7\n"
    rows = values(rows_of(tmp_path, content))
    assert rows["zip"][-2:] == ["81234", "01234"]
    assert rows["year"][-1] == 2026
    assert rows["age"][-1] == 7


CENTRAL = {
    "Polish": "Łukasz,Łódź\nPaweł,Białystok\nZofia,Kraków\n",
    "Czech": "Jiří,Plzeň\nŠtěpán,Děčín\nBožena,Ústí\n",
    "Slovak": "Ľubomír,Košice\nŠťastný,Žilina\n",
    "Hungarian": "Szűcs,Győr\nÖdön,Hódmezővásárhely\n",
    "Croatian": "Đuro,Čakovec\nĆiro,Šibenik\n",
    "Romanian": "Ştefan,Timişoara\nMădălina,Constanţa\n",
}
WESTERN = {
    "German": "Jürgen,Köln\nGröße,Straße\n",
    "French": "François,Besançon\nNoël,Île-de-France\nœuvre,Évêque\n",
    "Portuguese": "João,São Paulo\nConceição,Guarujá\n",
    "Italian": "Niccolò,Forlì\nperché,più\n",
    "Danish": "Søren,Århus\nKåre,Ærø\n",
    "Icelandic": "Þórður,Ísafjörður\n",
    "Icelandic names without another letter of their own": "Sigurður,Hörður\nGuðmundur,Björn Þ.\n",
    "Icelandic names among letters that are Turkish too": "François,Müller\nJörg,Sigurður\n",
    "Spanish with a sign between letters": "Señor,n±s\nniño,x±y\n",
    "a letter alone": "Ñ,Þ\nñ,þ\n",
    "signs": "5 m³,3 £\n1ª,½\n12 µg,¿cómo?\n",
    "several languages": "Jürgen,Søren\nNoël,João\nÍñigo,Åsa\n",
}


@pytest.mark.parametrize("text", CENTRAL.values(), ids=CENTRAL)
def test_text_of_central_europe_is_not_taken_for_western(tmp_path: Path, text: str) -> None:
    content = f"a,b\n{text}".encode("cp1250")
    said = refusal(tmp_path, content)
    assert said.startswith(f"is not in UTF-8; it looks like Windows-1250 (line 2 has {text.splitlines()[0]!r}) rather")
    assert said.endswith("say which: --encoding cp1250, or --encoding cp1252")
    rows = rows_of(tmp_path, content, encoding="cp1250")
    assert rows.frame.to_csv(index=False) == f"a,b\n{text}"


@pytest.mark.parametrize(
    ("text", "encoding", "called"),
    [
        ("Gdańsk,Łódź\nWrocław,Śląsk\n", "iso8859_2", "Latin-2"), ("Plzeň,Žďár\nÚstí,Šumperk\n", "iso8859_2", "Latin-2"),
        ("Eskişehir,Muğla\nİstanbul,ışık\n", "cp1254", "Windows-1254"), ("Muğla,Beyoğlu\nİğneada,ışık\n", "cp1254", "Windows-1254"),
        ("Gdańsk,Łódź\nKraków,Śląsk\n", "iso8859_2", "Latin-2"), ("Gdańsk,Poznań\n", "iso8859_2", "Windows-1250"),
        ("sąd,mąka\n", "iso8859_2", "Latin-2"),
    ],
)  # fmt: skip
def test_text_of_other_encodings_that_western_text_looks_like_is_refused_until_one_says_it(
    tmp_path: Path, text: str, encoding: str, called: str
) -> None:
    content = f"a,b\n{text}".encode(encoding)
    assert f"it looks like {called} (line 2 has {text.splitlines()[0]!r})" in refusal(tmp_path, content)
    assert rows_of(tmp_path, content, encoding=encoding).frame.to_csv(index=False) == f"a,b\n{text}"


@pytest.mark.parametrize("text", WESTERN.values(), ids=WESTERN)
def test_western_text_is_read_without_a_question(tmp_path: Path, text: str) -> None:
    rows = rows_of(tmp_path, f"a,b\n{text}".encode("cp1252"), text=("a", "b"))
    assert rows.frame.to_csv(index=False) == f"a,b\n{text}"


OVERRIDDEN: dict[str, tuple[str | bytes, dict[str, Any], Values]] = {
    "separator": ("a,b;c\nx,y;3\n", {"separator": "semicolon"}, {"a,b": ["x,y"], "c": [3]}),
    "another separator": ("a:b\n1:2\n", {"separator": ":"}, {"a": [1], "b": [2]}),
    "blanks": ("a  b\n1 x\n 2   y\n", {"separator": "blanks"}, AB),
    "decimal": ('a\n"1,234"\n', {"decimal": "comma"}, {"a": [1.234]}),
    "point": ("a;b\n1.234;x\n", {"decimal": "point"}, {"a": [1.234], "b": ["x"]}),
    "thousands": ('a\n"1,234"\n', {"thousands": "comma"}, {"a": [1234.0]}),
    "points": ("a;b\n1.234;x\n", {"thousands": "."}, {"a": [1234.0], "b": ["x"]}),
    "encoding": ("имя\nИван\n".encode("cp1251"), {"encoding": "cp1251"}, {"имя": ["Иван"]}),
    "an encoding that the file has a mark of": (b"\xef\xbb\xbfa,b\n1,x\n2,y\n", {"encoding": "utf-8"}, AB),
    "comment": ("a,b\n1,x\n;2,z\n2,y\n", {"comment": ";"}, AB),
    "no comment": ("#a\n#b\n", {"comment": "none"}, {"#a": ["#b"]}),
    "lines above": ("Sales\nof;May\n\na;b\n1;x\n2;y\n", {"skip_lines": 3}, AB),
    "text": ("a,b\n$1,01\n", {"text": ("a", "b")}, {"a": ["$1"], "b": ["01"]}),
}


@pytest.mark.parametrize(("content", "form", "expected"), OVERRIDDEN.values(), ids=OVERRIDDEN)
def test_each_guess_has_an_option_that_overrides_it(
    tmp_path: Path, content: str | bytes, form: dict[str, Any], expected: Values
) -> None:
    assert values(rows_of(tmp_path, content, **form)) == expected


@pytest.mark.parametrize(
    ("form", "said"),
    [
        ({"separator": "ab"}, "--separator 'ab': expected one character, or comma"),
        ({"decimal": ";"}, "--decimal ';': expected point or comma"),
        ({"thousands": "x"}, "--thousands 'x': expected comma, point, blank"),
        ({"decimal": ",", "thousands": "comma"}, "both ','"),
        ({"comment": "//"}, "--comment '//': expected one character"),
        ({"encoding": "latin-0"}, "--encoding latin-0 is none"),
        ({"encoding": "base64"}, "--encoding base64 is none"),
    ],
)
def test_an_option_that_no_file_can_be_read_by_is_refused(form: dict[str, Any], said: str) -> None:
    with pytest.raises(SettingsError, match=said):
        Form(**form)


# --- numbers written for people ------------------------------------------------------------------------------------

PEOPLE: dict[str, tuple[list[str], list[float | None], str]] = {
    "percent": (["6.02%", "7 %", "-1%"], [6.02, 7, -1], "in %"),
    "dollars": (["$47.4", "$1,200", "-$3", "$-3", "5"], [47.4, 1200, -3, -3, 5], "thousands ',', in $"),
    "euros": (["3,50 €", "1.234,00 €", "−2 €"], [3.5, 1234, -2], "decimal ',', thousands '.', in €"),
    "a currency's code": (["CHF 1'234.50", "CHF 12"], [1234.5, 12], 'thousands "\'", in CHF'),
    "brackets": (["(2.7)", "3.1", "($4)"][:2], [-2.7, 3.1], "signs and brackets"),
    "brackets around dollars": (["($2.7)", "$3.1"], [-2.7, 3.1], "in $"),
    "typographic minus": (["−3", "2.5", "–4"], [-3, 2.5, -4], "signs and brackets"),
    "a minus behind": (["3-", "2.5", "1,234.00-"], [-3, 2.5, -1234], "thousands ','"),
    "a minus behind, before a currency": (["3,10- EUR", "2,50 EUR"], [-3.1, 2.5], "decimal ',', in EUR"),
    "a currency before brackets": (["$(2.7)", "$ (1,000)", "$3.1"], [-2.7, -1000, 3.1], "thousands ',', in $"),
    "no cents": (["CHF 40.–", "CHF 7.-", "CHF 1'200.--"], [40, 7, 1200], 'thousands "\'", in CHF'),
    "no cents after a comma": (["40,- €", "7,50 €"], [40, 7.5], "decimal ',', in €"),
    "crowns": (["kr 40.5", "kr 7"], [40.5, 7], "in kr"),
    "rupees": (["Rs. 1,00,000/-", "Rs. 7/-"], [100000, 7], "thousands ',', in Rs."),
    "a sign of percent before": (["%6.02", "%7"], [6.02, 7], "in %"),
    "one and many": (["1 month", "17 months", "2 months"], [1, 17, 2], "in months"),
    "what Excel has for none": (["$5", "#DIV/0!", "$7"], [5, None, 7], "in $"),
    "units": (["38.2 kg", "40kg"], [38.2, 40], "in kg"),
    "degrees": (["-3 °C", "21.5 °C"], [-3, 21.5], "in °C"),
    "thousands and points": (["47,400.5", "1,234"], [47400.5, 1234], "thousands ','"),
    "thousands twice": (["1,234,567", "1,234"], [1234567, 1234], "thousands ','"),
    "India": (["12,34,567", "1,00,000"], [1234567, 100000], "thousands ','"),
    "blanks": (["1 234", "12 345,5"], [1234, 12345.5], "decimal ',', thousands ' '"),
    "no-break blanks": (["1\xa0234", "12\u202f345"], [1234, 12345], "thousands ' '"),
    "apostrophes": (["1'234", "12’345.5"], [1234, 12345.5], 'thousands "\'"'),
    "powers": (["1,5e3", "2E-2"], [1500, 0.02], "decimal ','"),
    "words for missing ones": (["$5", "NA", "$7", ""], [5, None, 7, None], "in $"),
}


@pytest.mark.parametrize(("texts", "expected", "said"), PEOPLE.values(), ids=PEOPLE)
@pytest.mark.parametrize("name", ["table.csv", "table.parquet"])
def test_a_number_written_for_people_is_that_number_and_said(
    tmp_path: Path, texts: list[str], expected: list[float | None], said: str, name: str
) -> None:
    frame = pd.DataFrame({"a": texts * 3, "b": ["x"] * 3 * len(texts)})
    frame.to_csv(tmp_path / name, index=False, sep="\t") if name.endswith("csv") else frame.to_parquet(tmp_path / name)
    rows = reading.read(tmp_path / name, Form())
    assert values(rows)["a"] == expected * 3
    (remark,) = rows.remarks
    # Decimal commas in all of a CSV file are said of the file.
    assert f"of numbers written for people: 'a' ({said})" in remark or remark.endswith("decimal ','")


@pytest.mark.parametrize(
    "texts",
    [
        ["12", "12a", "4b"], ["25-34", "35-44"], ["12.05.2024", "01.02.2024"], ["10:30", "11:45"], ["192.168.0.1", "10.0.0.1"],
        ["A1", "B2"], ["PC 17599", "113803"], ["5 mg", "10 ml"], ["<5", ">50"], ["044 123 45 67", "044 321 54 76"], ["1.2.3", "1.2.4"],
        ["yes", "5 kg", "no", "maybe"], ["3f2a", "12e"], ["10+", "5+"], ["B-", "A-"], ["5-7", "3-4"],
        ["4-door", "2-door"], ["5-star", "3-star"], ["36-month", "12-month"], ["12-Mar", "13-Mar"],
    ],
)  # fmt: skip
def test_what_only_looks_like_numbers_stays_text(tmp_path: Path, texts: list[str]) -> None:
    rows = rows_of(tmp_path, "a\tb\n" + "".join(f"{text}\tx\n" for text in texts))
    assert values(rows)["a"] == texts


def test_numbers_of_which_some_have_a_decimal_comma_and_some_a_point_are_refused(tmp_path: Path) -> None:
    content = "a;b\n40,4;x\n40.5;y\n12;z\n"
    said = refusal(tmp_path, content)
    assert said.startswith(
        "column 'a' has numbers with a point and with a comma, such as '40.5' and '40,4'; write all of them"
    )
    assert values(rows_of(tmp_path, content, text=("a",)))["a"] == ["40,4", "40.5", "12"]


@pytest.mark.parametrize("texts", [['="01234"', '="5"'], ["'01234", "'5"]])
def test_what_excel_marks_as_text_is_without_the_mark(tmp_path: Path, texts: list[str]) -> None:
    rows = rows_of(tmp_path, "a,b\n" + "".join(f"{text},x\n" for text in texts))
    assert values(rows)["a"] == ["01234", "5"]
    assert rows.remarks == ["read as: Excel's marks of text taken off in 'a'"]


def test_numbers_with_several_units_stay_text_which_is_said(tmp_path: Path) -> None:
    rows = rows_of(tmp_path, "weight,y\n38.2 kg,1\n84 lb,0\n3 kg,1\n")
    assert values(rows)["weight"] == ["38.2 kg", "84 lb", "3 kg"]
    assert rows.remarks == ["read as: 'weight' as text, for it has several units (kg, lb)"]


@pytest.mark.parametrize(
    ("amounts", "said"),
    [
        (["1.2k", "950", "3k"], "k, none"),
        (["34%", "0.5", "12%"], "%, none"),
        (["$34", "€5", "$7"], "$, €"),
        (["1.2k", "3M", "2.5M"], "M, k"),
        (["12a", "7", "3b"], ""),
    ],
)
def test_amounts_in_thousands_beside_others_are_text_which_is_said(
    tmp_path: Path, amounts: list[str], said: str
) -> None:
    rows = rows_of(tmp_path, "a,n\n" + "".join(f"{amount},{i}\n" for i, amount in enumerate(amounts * 20)))
    assert values(rows)["a"][:3] == amounts
    assert rows.remarks == ([f"read as: 'a' as text, for it has several units ({said})"] if said else [])


def test_other_columns_tell_what_a_mark_is(tmp_path: Path) -> None:
    assert values(rows_of(tmp_path, 'a,b\n"1,234",6.02\n'))["a"] == [1234]
    assert values(rows_of(tmp_path, 'a,b\n"1,234","47,4"\n'))["a"] == [1.234]
    assert values(rows_of(tmp_path, "a;b\n1.234;47,4\n"))["a"] == [1234]


@pytest.mark.parametrize("mark", ["comma", "point"])
def test_a_decimal_mark_that_is_said_is_for_the_columns_that_may_have_either(tmp_path: Path, mark: str) -> None:
    content = "a;b;c;d\n" + "".join(f"1.{i},5;1,{i}.25;{i}.25;1,{i}\n" for i in range(100, 160))
    rows = values(rows_of(tmp_path, content, decimal=mark))
    assert (rows["a"][0], rows["b"][0], rows["c"][0]) == (1100.5, 1100.25, 100.25)
    assert rows["d"][0] == (1.1 if mark == "comma" else 1100)


@pytest.mark.parametrize(
    ("content", "mark"), [('a,c,b\n"1,234","5,678",x\n', "1,234"), ("a;c;b\n1.234;5.678;x\n", "1.234")]
)
def test_a_mark_that_may_be_either_is_refused_with_all_such_columns_and_the_options(
    tmp_path: Path, content: str, mark: str
) -> None:
    said = refusal(tmp_path, content)
    assert f"may be read in two ways: 'a' (such as '{mark}'), 'c' (such as" in said
    assert "--decimal comma (or point), or --thousands comma (or point); --text COLUMN" in said
    assert values(rows_of(tmp_path, content, drop=("a", "c")))["b"] == ["x"]


def test_values_that_are_not_written_as_the_others_are_all_named_by_their_lines(tmp_path: Path) -> None:
    lines = ["a;b", *["$1,000.5;5 kg"] * 20, "1.000,5;5 kg", "$7;5 lb", "", "$7;9"]
    said = refusal(tmp_path, "\n".join(lines))
    assert (
        "line 22, column 'a' is '1.000,5'; expected a number as in the other rows, such as '$1,000.5' (1 such row)"
        in said
    )
    assert ": --number 'b' takes what is none as missing, --text 'b' leaves the column as it is" in said
    assert "line 23, column 'b' is '5 lb'; expected a number as in the other rows, such as '5 kg' (2 such rows)" in said
    assert "--text 'b' leaves the column as it is" in said


def test_classes_keep_their_names_however_they_are_written(tmp_path: Path) -> None:
    content = "a,y\n" + "1,5 %\n2,10 %\n" * 20
    assert values(rows_of(tmp_path, content, words=("y",)))["y"][:2] == ["5 %", "10 %"]
    assert values(rows_of(tmp_path, content))["y"][:2] == [5, 10]


# --- packed files --------------------------------------------------------------------------------------------------


def zipped(**files: str) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in files.items():
            archive.writestr(name.replace("_", "."), text)
    return buffer.getvalue()


CSV = "a;b\n1;x\n2;y\n"
PACKED = {
    "sales.csv.gz": gzip.compress(CSV.encode()),
    "SALES.CSV.GZ": gzip.compress(CSV.encode()),
    "sales.gz": gzip.compress(CSV.encode()),
    "sales.zip": zipped(**{"readme/": "", "sales_tsv": CSV, "__MACOSX/sales_tsv": "?", ".hidden": ""}),
    "sales.csv": gzip.compress(CSV.encode()),
    "sales.txt": CSV.encode(),
    "sales.TSV": CSV.encode(),
    "sales.CSV": CSV.encode(),
    "sales.jsonl.gz": gzip.compress(b'{"a": 1, "b": "x"}\n{"a": 2, "b": "y"}\n'),
}


@pytest.mark.parametrize(("name", "content"), PACKED.items(), ids=PACKED)
def test_a_packed_file_is_unpacked_and_endings_may_be_in_capitals(tmp_path: Path, name: str, content: bytes) -> None:
    assert values(rows_of(tmp_path, content, name)) == AB


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.csv.gz", gzip.compress(CSV.encode() * 1000)[:-20], "is no whole gzip file"),
        ("a.csv.gz", CSV.encode(), "is no whole gzip file"),
        ("a.zip", zipped(a_csv=CSV)[:-20], "is no whole zip file"),
        ("a.zip", zipped(a_csv=CSV, b_csv=CSV), "has 2 files in it ('a.csv', 'b.csv'); say which: --member 'a.csv'"),
        ("a.zip", zipped(), "has 0 files in it; expected one"),
        ("a.zip", zipped(a_doc="x"), "ends in .doc; expected one of .csv"),
        ("a.csv.gz", gzip.compress(gzip.compress(CSV.encode())), "has a packed file in it (a.csv); unpack it once"),
        (
            "a.csv",
            b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1",
            "is an Excel file of the old kind, or one with a password; save it as .xlsx",
        ),
    ],
)
def test_what_cannot_be_unpacked_is_refused_in_one_line(tmp_path: Path, name: str, content: bytes, said: str) -> None:
    assert refusal(tmp_path, content, name).startswith(said)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"%PDF-1.7\n", "is a PDF; export the table in it as CSV"), (b"\x89PNG\r\n", "is a picture (PNG)"),
        (b"\xef\xbb\xbf\n<!DOCTYPE html>\n<html>", "is a web page (HTML); was a login page saved in place of the file?"),
        (b"version https://git-lfs.github.com/spec/v1\n", "is what Git LFS keeps in place of the file; fetch the file itself: git lfs pull"),
        (b"SQLite format 3\0", "is an SQLite database; export a table of it as CSV"), (b"BZh91AY", "is packed with bzip2; unpack it, or pack it with gzip or zip"),
        (b'[\n {"a": 1}]', "is a list of JSON; write an object of it in each line, without commas between them, as .jsonl"),
        (zipped(mimetype="", content_xml="<x/>"), "is of OpenDocument; save it as .xlsx or CSV"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("name", ["table.csv", "table.jsonl"])
def test_what_is_no_table_is_called_what_it_is(tmp_path: Path, content: bytes, said: str, name: str) -> None:
    assert refusal(tmp_path, content, name) == said


def test_lines_of_json_are_told_by_what_is_in_them(tmp_path: Path) -> None:
    for name in ("table.csv", "table.json"):
        assert values(rows_of(tmp_path, '{"a": 1}\n{"a": 2}\n', name)) == {"a": [1, 2]}


def test_of_several_files_in_a_zip_file_one_has_to_be_said(tmp_path: Path) -> None:
    both = zipped(**{"2026/a_csv": CSV, "2026/b_jsonl": '{"c": 3}'})
    assert refusal(tmp_path, both, "a.zip") == (
        "has 2 files in it ('2026/a.csv', '2026/b.jsonl'); say which: --member '2026/a.csv'"
    )
    assert refusal(tmp_path, both, "a.zip", member="a.csv") == (
        "has no file 'a.csv' in it; it has '2026/a.csv', '2026/b.jsonl'"
    )
    assert values(rows_of(tmp_path, both, "a.zip", member="2026/a.csv")) == AB
    assert values(rows_of(tmp_path, both, "a.zip", member="2026/b.jsonl")) == {"c": [3]}


@pytest.mark.parametrize("name", ["bomb.csv.gz", "bomb.zip", "bomb.xlsx"])
def test_a_bomb_is_refused_while_it_is_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setattr(memory, "left", lambda: memory.RESERVE + 8_000_000)
    text = "a,b\n" + "1,2\n" * 2_000_000
    packed = (
        gzip.compress(text.encode(), 1)
        if name.endswith("gz")
        else zipped(**{"[Content_Types]_xml" if "xlsx" in name else "x_csv": text})
    )
    assert "has more than 2 MB in it, unpacked, for which there is no memory" in refusal(tmp_path, packed, name)


# --- Excel, lines of JSON, Feather -----------------------------------------------------------------------------------


AGES: list[list[Cell]] = [
    [None, "age", "day", "price", "ok", "note", "mix", 2026],
    [None, 47, DAY, "47,40 €", True, "x", 1, 1],
]
AGES += [[None, None, DAY, "1.200,00 €", False, None, "a", 2], [], [None, 3.5, None, "3,10 €", None, "y", "01", 3]]


def test_a_sheet_is_read_with_the_types_of_its_cells_and_its_rows_are_named_as_excel_counts(tmp_path: Path) -> None:
    sheets: dict[str, list[list[Cell]]] = {"May": [[], *AGES], "nothing": [], "old": [["a"], [1]]}
    rows = rows_of(tmp_path, workbook(sheets, hidden=["old"]), "table.xlsx")
    day = pd.Timestamp(DAY)
    assert values(rows) == {
        "age": [47, None, 3.5], "day": [day, day, None], "price": [47.4, 1200, 3.1], "ok": [True, False, None],
        "note": ["x", None, "y"], "mix": ["1", "a", "01"], "2026": [1, 2, 3],
    }  # fmt: skip
    assert [rows.place(row) for row in range(3)] == ["row 3", "row 4", "row 6"]
    assert rows.remarks[0].startswith(
        "read as: sheet 'May', 1 column of numbers written for people: 'price' (decimal ','"
    )


def test_of_several_sheets_one_has_to_be_said(tmp_path: Path) -> None:
    book = workbook({"A": [["a", "b"], [1, "x"], [2, "y"]], "B": [["c"], [1]]})
    assert refusal(tmp_path, book, "a.xlsx").startswith("has 2 sheets ('A', 'B'); say which: --sheet 'A'")
    assert refusal(tmp_path, book, "a.xlsx", sheet="C").startswith("has no sheet 'C'; it has 'A', 'B'")
    assert values(rows_of(tmp_path, book, "a.xlsx", sheet="A")) == AB
    assert refusal(tmp_path, workbook({"A": []}), "a.xlsx").startswith("has no rows in a sheet that is shown")


def test_what_stands_above_the_names_of_a_sheet_is_left_out_when_told(tmp_path: Path) -> None:
    book = workbook({"A": [[], ["Sales of May"], [], ["a", "b"], [1, "x"], [2, "y"]]})
    assert "has one name in row 2, 'Sales of May', and 2 columns" in refusal(tmp_path, book, "a.xlsx")
    rows = rows_of(tmp_path, book, "a.xlsx", skip_lines=2)
    assert values(rows) == AB
    assert rows.place(0) == "row 5"


def test_a_cell_so_far_off_that_all_before_it_have_no_room_is_refused(tmp_path: Path) -> None:
    rows = "".join(
        f'<row r="{row}"><c r="{column}{row}"><v>1</v></c></row>' for row, column in ((1, "A"), (1_048_576, "XFD"))
    )
    buffer = io.BytesIO(workbook({"A": []}))
    with zipfile.ZipFile(buffer, "a") as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that this part is there twice: the last one counts
        archive.writestr(
            "xl/worksheets/sheet1.xml", f'<worksheet xmlns="{MAIN}"><sheetData>{rows}</sheetData></worksheet>'
        )
    assert "needs about" in refusal(tmp_path, buffer.getvalue(), "far.xlsx")


def test_lines_of_json_are_rows_and_what_a_line_has_not_is_missing(tmp_path: Path) -> None:
    rows = rows_of(tmp_path, '{"a": 1, "b": "x"}\n\n{"b": "1,5 kg", "a": 2.5, "c": true}\n', "table.jsonl")
    assert values(rows) == {"a": [1, 2.5], "b": ["x", "1,5 kg"], "c": [None, True]}
    assert rows.place(1) == "line 3"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ('{"a": 1}\n\n{"a": "x"}\n', "line 3 has text in 'a', which is a number in the lines before it"),
        ('{"a": 1}\n[1]\n', "line 2 is no JSON object"),
        ('{"a": 1}\n{"a": \n', "line 2 is no JSON:"),
        ("", "has no rows"),
        ('{"a": [1]}\n', "column 'a' has values of the type list<item: int64>"),
    ],
)
def test_a_line_of_json_at_fault_is_named(tmp_path: Path, content: str, said: str) -> None:
    assert refusal(tmp_path, content, "table.jsonl").startswith(said)


def test_a_feather_file_is_read(tmp_path: Path) -> None:
    pd.DataFrame(AB).to_feather(tmp_path / "table.feather")
    assert values(reading.read(tmp_path / "table.feather", Form())) == AB


# --- Parquet -------------------------------------------------------------------------------------------------------


def parquet_rows(folder: Path, table: pa.Table, **form: Any) -> Rows:
    parquet.write_table(table, folder / "table.parquet")
    return read(folder / "table.parquet", **form)


TYPES: dict[str, tuple[pa.Array, list[Any], str]] = {
    "decimal": (pa.array([Decimal("1.50"), None]), [1.5, None], "float64"),
    "dictionary": (pa.array(["x", None]).dictionary_encode(), ["x", None], "str"),
    "date": (pa.array([DAY, None]), [pd.Timestamp(DAY), None], "datetime64[s]"),
    "timestamp": (pa.array([datetime.datetime(2026, 1, 31, 5), None]), [pd.Timestamp("2026-01-31T05"), None], "datetime64[us]"),
    "half a float": (pa.array([np.float16(0.5), None], pa.float16()), [0.5, None], "float64"),
    "booleans": (pa.array([True, None]), [True, None], "object"),
    "nothing": (pa.nulls(2), [None, None], "object"),
}  # fmt: skip


@pytest.mark.parametrize(("array", "expected", "dtype"), TYPES.values(), ids=TYPES)
def test_a_type_of_parquet_becomes_what_it_means(
    tmp_path: Path, array: pa.Array, expected: list[Any], dtype: str
) -> None:
    rows = parquet_rows(tmp_path, pa.table({"a": array}))
    assert values(rows) == {"a": expected}
    assert str(rows.frame["a"].dtype) == dtype


def test_nested_columns_are_refused_all_at_once_unless_they_are_dropped(tmp_path: Path) -> None:
    table = pa.table({"a": [1, 2], "tags": [["x"], []], "place": [{"x": 1}, None]})
    with pytest.raises(
        DataError, match=r"'tags' has values of the type list<.*; column 'place' has values of the type struct<x"
    ):
        parquet_rows(tmp_path, table)
    assert values(parquet_rows(tmp_path, table, drop=("tags", "place")))["a"] == [1, 2]


@pytest.mark.parametrize("index", ["a", ["a", "b"]])
def test_an_index_with_names_becomes_columns(tmp_path: Path, index: str | list[str]) -> None:
    pd.DataFrame({**AB, "c": [5, 6]}).set_index(index).to_parquet(tmp_path / "table.parquet")
    assert values(reading.read(tmp_path / "table.parquet", Form())) == {"c": [5, 6], **AB}


@pytest.mark.parametrize(
    ("index", "column"),
    [
        (pd.Index([1.5, 2.5]), [1.5, 2.5]), (pd.date_range("2026-01-01", periods=2), list(pd.date_range("2026-01-01", periods=2))),
        (pd.Index([7, 3]), None),
    ],
)  # fmt: skip
def test_an_index_without_a_name_is_a_column_unless_it_numbers_rows(
    tmp_path: Path, index: pd.Index, column: list[Any] | None
) -> None:
    pd.DataFrame({"b": ["x", "y"]}, index=index).to_parquet(tmp_path / "t.parquet")
    rows = read(tmp_path / "t.parquet")
    assert values(rows) == {"b": ["x", "y"]} | ({} if column is None else {"index": column})
    assert rows.remarks == ([] if column is None else ["read as: an index without a name called 'index'"])


def test_a_name_that_is_twice_in_parquet_is_refused_with_the_option(tmp_path: Path) -> None:
    table = pa.Table.from_arrays([pa.array([1]), pa.array([2]), pa.array([3])], names=["a", "a", "b"])
    parquet.write_table(table, tmp_path / "t.parquet")
    with pytest.raises(DataError, match=r"has the column 'a' 2 times; .*--drop 'a'"):
        read(tmp_path / "t.parquet")
    assert values(read(tmp_path / "t.parquet", drop=("a",)))["b"] == [3]


def test_a_stream_of_arrow_is_read(tmp_path: Path) -> None:
    table = pa.table(AB)
    with pa.ipc.new_stream(str(tmp_path / "t.arrow"), table.schema) as stream:
        stream.write_table(table)
    assert values(read(tmp_path / "t.arrow")) == AB


def test_names_in_parquet_are_without_blanks_as_in_csv(tmp_path: Path) -> None:
    rows = parquet_rows(tmp_path, pa.table({" a ": [1]}))
    assert values(rows) == {"a": [1]}
    assert rows.remarks == ["read as: blanks around 'a' left out"]


@pytest.fixture
def folder(tmp_path: Path) -> Callable[..., Path]:
    """Return what writes a folder of Parquet as Spark does: file → table."""

    def write(**files: Values) -> Path:
        for name, columns in files.items():
            path = tmp_path / "sales" / name.replace("__", "/")
            path.parent.mkdir(parents=True, exist_ok=True)
            parquet.write_table(pa.table(columns), path.with_suffix(".parquet"))
        (tmp_path / "sales" / "_SUCCESS").touch()
        return tmp_path / "sales"

    return write


def test_a_folder_of_parquet_is_one_table_and_its_digest_is_of_all_files(folder: Callable[..., Path]) -> None:
    path = folder(part2={"a": [3.5]}, part1={"a": [1, 2]})
    rows = reading.read(path, Form())
    assert values(rows) == {"a": [1, 2, 3.5]}
    assert rows.remarks == ["read as: 2 Parquet files"]
    before = reading.sha256(path)
    folder(part2={"a": [4.5]})
    assert reading.sha256(path) != before


def test_a_folder_is_refused_where_its_files_together_have_no_room(
    folder: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = folder(part1={"a": [1] * 100_000}, part2={"a": [2] * 100_000})
    monkeypatch.setattr(memory, "left", lambda: memory.RESERVE + 5_000_000)
    with pytest.raises(DataError, match="sales has 2 MB and needs about"):
        reading.read(path, Form())
    assert len(reading.read(path / "part1.parquet", Form()).frame) == 100_000


def test_a_name_that_is_there_twice_can_be_dropped(tmp_path: Path) -> None:
    assert values(rows_of(tmp_path, "a,b,a\n1,x,2\n", drop=("a",)))["b"] == ["x"]


def test_folders_in_it_that_are_named_for_a_value_are_a_column(folder: Callable[..., Path]) -> None:
    rows = reading.read(folder(**{"year=2025__x": {"a": [1]}, "year=2026__x": {"a": [2]}}), Form())
    assert values(rows) == {"a": [1, 2], "year": [2025, 2026]}


def test_folders_that_are_codes_keep_the_zeros_that_they_begin_with(folder: Callable[..., Path]) -> None:
    path = folder(**{"plz=01067/a": AB, "plz=80331/a": AB})
    assert values(read(path))["plz"] == ["01067", "01067", "80331", "80331"]


def test_a_file_of_a_folder_at_fault_is_named(folder: Callable[..., Path]) -> None:
    path = folder(a={"a": [1]}, b={"a": ["x"]})
    with pytest.raises(
        DataError, match=r"column 'a' is int64 in a\.parquet and string in b\.parquet; expected one type"
    ):
        read(path)
    (path / "b.parquet").write_bytes(b"PAR1")
    with pytest.raises(DataError, match=r"b\.parquet is no whole Parquet file"):
        read(path)


def test_files_of_a_folder_with_other_columns_are_refused(folder: Callable[..., Path]) -> None:
    path = folder(part1={"a": [1], "b": [1]}, part2={"a": [1]})
    with pytest.raises(DataError, match=r"part1\.parquet and part2\.parquet differ in the column 'b'"):
        reading.read(path, Form())


@pytest.mark.parametrize("ending", ["parquet", "feather"])
def test_half_a_file_is_refused_in_one_line(tmp_path: Path, ending: str) -> None:
    buffer = io.BytesIO()
    table = pa.table({"a": list(range(1000))})
    parquet.write_table(table, buffer) if ending == "parquet" else feather.write_feather(table, buffer)
    content = buffer.getvalue()
    assert "is no whole" in refusal(tmp_path, content[: len(content) // 2], f"table.{ending}")

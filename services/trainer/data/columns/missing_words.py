"""Words such as NA: missing values in a column of numbers or truth values, words like any other in a column of text.

What a column is, all of its values say, so pandas may not decide it word by word.
"""

from collections.abc import Collection

import pandas as pd
from contract.missing import MISSING_WORDS

# What pandas takes for truth values in CSV.
BOOLEANS = {"True": True, "TRUE": True, "true": True, "False": False, "FALSE": False, "false": False}


def numeric(column: pd.Series) -> bool:
    """Tell whether most of a text column are numbers: then words stand for missing ones, and the rest are mistakes."""
    present = column.dropna()
    numbers = int(pd.to_numeric(present, errors="coerce").notna().sum())
    # In most columns of text none is, and then there is no need to look for words.
    return numbers > 0 and numbers >= 0.5 * (len(present) - int(present.isin(MISSING_WORDS).sum()))


def boolean(column: pd.Series) -> bool:
    """Tell whether all of a text column are truth values, but for words that stand for missing ones."""
    present = column.dropna()
    if present.empty or present.iloc[0] not in BOOLEANS.keys() | MISSING_WORDS:  # of most columns the first one tells
        return False
    present = _present(present)
    return bool(len(present) and present.isin(BOOLEANS).all())


def _present(column: pd.Series) -> pd.Series:
    present = column.dropna()
    return present[~present.isin(MISSING_WORDS)]


def expected(sample: pd.DataFrame, text: Collection[str]) -> dict[str, list[str]]:
    """Return column → words of those that have nothing but numbers, or truth values, and such words in a sample of the rows.

    pandas reads these at once, which is ten times as fast as looking at each word. `text` names columns that it must not.
    """
    found = {}
    for name, column in _with_words(sample).items():
        present = _present(column)
        is_plain = len(present) and pd.to_numeric(present, errors="coerce").notna().all()
        if name not in text and (is_plain or boolean(column)):
            found[name] = _words(column)
    return found


def remark(name: str, column: pd.Series, words: list[str]) -> str:
    """Say that words were taken for missing values."""
    return f"column {name!r} has {column.isna().sum()} missing values, some of them written as {', '.join(word if word.strip() else repr(word) for word in words)}"


def _with_words(frame: pd.DataFrame) -> dict[str, pd.Series]:
    texts = {str(name): column for name, column in frame.items() if isinstance(column.dtype, pd.StringDtype)}
    return {name: column for name, column in texts.items() if column.isin(MISSING_WORDS).any()}


def _words(column: pd.Series) -> list[str]:
    return sorted(column[column.isin(MISSING_WORDS)].unique())

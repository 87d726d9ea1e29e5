"""The words that stand for a missing value in a column of numbers or truth values: those of pandas, and the empty field.

In a column of text they are words like any other, and only an empty field is missing. In JSON a missing value is null.
"""

MISSING_WORDS = frozenset(
    {
        "",
        "#N/A",
        "#N/A N/A",
        "#NA",
        "-1.#IND",
        "-1.#QNAN",
        "-NaN",
        "-nan",
        "1.#IND",
        "1.#QNAN",
        "<NA>",
        "N/A",
        "NA",
        "NULL",
        "NaN",
        "None",
        "n/a",
        "nan",
        "null",
    }
)

"""The words that data files use for a number which is not there, as pandas reads them by default.

They count as missing in columns of numbers and booleans alone. In a column of text only an empty field is
missing: 'NA' (Namibia), 'None' and 'null' are words there, in training data and in requests alike. The list
is written out, so that what a file means does not change with the version of pandas.
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

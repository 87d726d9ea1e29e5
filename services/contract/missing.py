"""The words that data files use for a number which is not there: those that pandas reads by default, and what people write.

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
# Among numbers and dates: in any case, and with blanks around them.
PLACEHOLDERS = frozenset(
    {
        *("?", "??", "???", "-", "--", "---", "–", "—", ".", "..", "...", "…", "*", "_", "/"),
        *(
            "n/a",
            "n.a.",
            "n. a.",
            "na",
            "nan",
            "nil",
            "none",
            "null",
            "missing",
            "blank",
            "empty",
            "(empty)",
            "(blank)",
        ),
        *("unknown", "unk", "unk.", "not known", "not available", "not applicable", "not recorded", "not specified"),
        *("unspecified", "undefined", "undisclosed", "tbd", "tba", "t.b.d.", "no data", "no answer", "no value"),
        *(
            "k.a.",
            "k. a.",
            "keine angabe",
            "unbekannt",
            "s/d",
            "n/d",
            "sin dato",
            "sin datos",
            "desconocido",
            "inconnu",
        ),
        # Databases write these, and Excel where a formula has none.
        *("\\n", "0000-00-00", "0000-00-00 00:00:00", "00.00.0000", "00/00/0000"),
        *("#div/0!", "#value!", "#ref!", "#name?", "#num!", "#null!"),
    }
)


def stands_for_none(text: str) -> bool:
    """Tell whether a text among numbers or dates stands for one that is not there."""
    return text in MISSING_WORDS or not (word := text.strip().casefold()) or word in PLACEHOLDERS

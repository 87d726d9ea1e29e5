"""In which requests MLflow's own scoring server and this service do not do the same, and why (docs/serving.md)."""

from dataclasses import dataclass

ANSWERED, REFUSED, FAILED, OTHERWISE = "answered", "refused", "failed (5xx)", "answered otherwise"


@dataclass(frozen=True)
class Difference:
    """Cases, by their titles, in which MLflow may do one thing and this service another."""

    what: str
    why: str
    mlflow: str
    ours: str
    cases: tuple[str, ...]


# How the titles of cases call a missing value.
MISSING = ("null", "NaN", "null beside values", "CSV cell ''", "CSV cell 'NA'", "CSV cell '\"NA\"'", "CSV cell '\"\"'")

DIFFERENCES = [
    Difference(
        "Plain lists in `instances` and `inputs`, for a model with named columns",
        "they are taken in the order of the columns, as this service always did; MLflow wants names",
        REFUSED,
        ANSWERED,
        ("instances: lists", "inputs: lists"),
    ),
    Difference(
        "Numbers beyond ±3.4e38, infinity among them",
        "many estimators compute in float32, and none answers sensibly beyond it",
        ANSWERED,
        REFUSED,
        ("1e39 in *", "1e400 in *", "Infinity in *", "CSV cell '1e39' in *", "CSV cell 'inf' in *"),
    ),
    Difference(
        "A missing value where the version says `required`",
        "the version was made of data without missing values; MLflow leaves a missing number to the estimator, takes a "
        "missing boolean for false or, beside other values, for true, and a missing text for the word None",
        ANSWERED,
        REFUSED,
        (
            *(f"{what} in a {kind} column*" for what in MISSING for kind in ("double", "float", "boolean")),
            *(f"{what} in a string column*" for what in MISSING if "NA" not in what),
            "*: a record without the last column",
            "*: a row without the last column",
            "CSV: nothing but commas",
        ),
    ),
    Difference(
        "The words NA, None, null and the like in a text column of CSV",
        "they are words, as in JSON: only an empty field of text is missing; MLflow reads them as a missing text",
        ANSWERED,
        OTHERWISE,
        ("CSV cell 'NA' in * string column", "CSV cell '\"NA\"' in * string column"),
    ),
    Difference(
        "A missing text in `instances` and `inputs`",
        "MLflow makes the words None and nan of it there, and a missing text in the other formats; here it is missing in all",
        ANSWERED,
        OTHERWISE,
        (
            "null in an optional string column, *",
            "NaN in an optional string column, *",
            "null beside values in an optional string column, *",
        ),
    ),
    Difference(
        "A missing truth value where it is accepted",
        "MLflow takes it for false in JSON, beside numbers for true, and refuses it in CSV; here it is missing in all",
        ANSWERED,
        OTHERWISE,
        (
            "null in an optional boolean column, *",
            "NaN in an optional boolean column, *",
            "null beside values in an optional boolean column, *",
        ),
    ),
    Difference(
        "An empty cell of CSV in a boolean column that accepts missing values",
        "as above: what is accepted in JSON is accepted in CSV",
        REFUSED,
        ANSWERED,
        (
            "CSV cell '' in an optional boolean column",
            "CSV cell 'NA' in an optional boolean column",
            "null beside values in an optional boolean column, text/csv",
        ),
    ),
    Difference(
        "A column that accepts missing values is left out",
        "it is missing in all rows then; MLflow hands the estimator a table without it, which scikit-learn refuses",
        REFUSED,
        ANSWERED,
        (
            "*: without the last, optional column",
            "*: rows without the last, optional column",
            "instances: a record without the last, optional column",
        ),
    ),
    Difference(
        "A fraction, or a number out of range, in a column of whole numbers",
        "MLflow cuts the fraction off and lets the number wrap round",
        ANSWERED,
        REFUSED,
        (
            "1.5 in a long column, *",
            "1.5 in an integer column, *",
            "1e39 in a long column, *",
            "1e39 in an integer column, *",
            "3000000000 in an integer column, *",
        ),
    ),
    Difference(
        "A number or a text in a boolean column",
        'MLflow takes every number but 0 and every text but "" for true, "false" as well',
        ANSWERED,
        REFUSED,
        tuple(f"{raw} in * boolean column, *" for raw in ("1", "0", "1.5", '"true"', '"false"', '""', "[1]", "{}")),
    ),
    Difference(
        "true or false in a column of numbers",
        "MLflow takes them for 1 and 0; more likely a value stands in the wrong column",
        ANSWERED,
        REFUSED,
        (
            "*true* in * double *",
            "*true* in * float *",
            "*true* in * long *",
            "*true* in * integer *",
            "true in a tensor, *",
        ),
    ),
    Difference(
        "A text in a column of numbers",
        'MLflow takes "1" for 1, "1_0" for 10 and "nan" for a missing number',
        ANSWERED,
        REFUSED,
        ('"1" in *', '"1_0" in *', '"nan" in *'),
    ),
    Difference(
        "A number, true or false, or a list in a text column",
        "MLflow makes text of it in `instances` and `inputs`, and leaves it as it is in the other formats",
        ANSWERED,
        REFUSED,
        tuple(f"{raw} in * string column, *" for raw in ("1", "1.5", "true", "[1]", "{}", '["Bern"]')),
    ),
    Difference(
        "Records in `instances` that have different keys",
        "MLflow lines the values up by column, and so makes one row of two",
        ANSWERED,
        REFUSED,
        ("instances: two records that make one", "instances: an empty record beside a whole one"),
    ),
    Difference(
        "Odd shapes",
        "pandas happens to take them: records or columns as the data of dataframe_split, one value for all rows of inputs",
        ANSWERED,
        REFUSED,
        (
            "dataframe_split: records as data",
            "dataframe_split: columns as data",
            "inputs: one value for all rows",
        ),
    ),
    Difference(
        "A CSV row with more values than there are columns",
        "where all rows have too many, MLflow drops the first value and shifts the others to the left",
        ANSWERED,
        REFUSED,
        ("CSV: a row that is too long", "CSV: a comma at the end of each row"),
    ),
    Difference(
        "A column that the model does not have, in some of the records of `instances`",
        "it is overlooked as it is in the other formats, and as it is where all records have it",
        REFUSED,
        ANSWERED,
        ("instances: one more column in one record",),
    ),
    Difference(
        "Blanks around true and false in CSV",
        "they are overlooked as they are around numbers",
        REFUSED,
        ANSWERED,
        ("CSV cell ' true' in *",),
    ),
    Difference(
        "`params` that do not fit the model's own parameters",
        "MLflow checks them against the signature; no scikit-learn model does anything with them (one that runs code gets them, checked)",
        REFUSED,
        ANSWERED,
        ("params: *",),
    ),
    Difference(
        "Parquet",
        "reading it within limits would take 34 to 105 MB of packages and a process of its own "
        "([why not](decisions/parquet-and-grpc.md)); CSV may be compressed",
        ANSWERED,
        REFUSED,
        ("Parquet: rows",),
    ),
    Difference(
        "A body that is compressed (`Content-Encoding: gzip` or `deflate`)",
        "MLflow reads the compressed bytes as text; here they are unpacked, within the limit of all bodies",
        REFUSED,
        ANSWERED,
        ("compressed: gzip", "compressed: deflate"),
    ),
    Difference(
        "A content type in capitals, or with its charset in quotes",
        "HTTP allows both",
        REFUSED,
        ANSWERED,
        ("content type: APPLICATION/JSON", 'content type: application/json; charset="utf-8"'),
    ),
    Difference(
        "No content type, JSON that is nested too deep, and whole numbers of thousands of digits",
        "MLflow fails over them with 500; here they are the client's mistake",
        FAILED,
        REFUSED,
        ("content type: none", "document: nested too deep", "document: a number of 5000 digits"),
    ),
]

"""What transformers make more columns of: they take memory for as many as their state says, and fill those that there are.

A column that is not filled is whatever was in that memory before: a piece of a request, or of a file.
"""

from typing import Any

from sklearn.preprocessing import PolynomialFeatures, TargetEncoder

from contract.trust.conditions import array, features, listed, must, whole

# Far above what is of use, and low enough to count the columns in no time.
MOST_DEGREE = 100


def polynomial(step: PolynomialFeatures) -> None:
    """Check that it takes room for the columns that it computes."""
    least, most = whole(step._min_degree, "its least degree"), whole(step._max_degree, "its degree")
    must(0 <= least <= most <= MOST_DEGREE, f"its degrees are not from 0 to {MOST_DEGREE}")
    for name, degree in (("n_output_features_", least), ("_n_out_full", 0)):
        expected = step._num_combinations(features(step), degree, most, step.interaction_only, step.include_bias)
        must(whole(getattr(step, name), name) == expected, f"its {name} is not the number of its columns")


def target_encoder(encoder: TargetEncoder) -> None:
    """Check that it has a number for each category of each column, and for each class where it is of several."""
    categories, encodings = listed(encoder.categories_, "its categories"), listed(encoder.encodings_, "its encodings")
    each = _classes(encoder) if encoder.target_type_ == "multiclass" else 1
    must(len(categories) == features(encoder), "it has not a list of categories per column")
    must(encoder._infrequent_enabled is False, "it has rare categories")
    must(len(encodings) == each * len(categories), "it has not a list of encodings per column")
    for position, found in enumerate(encodings):
        must(
            array(found, 1, "f", "its encodings").size == len(categories[position // each]),
            "its encodings are not those of its categories",
        )


def _classes(encoder: Any) -> int:
    found = array(encoder.classes_, 1, "biufOU", "its classes")
    must(
        array(encoder.target_mean_, 1, "f", "its means").size == found.size >= 1,
        "its means are not those of its classes",
    )
    return int(found.size)

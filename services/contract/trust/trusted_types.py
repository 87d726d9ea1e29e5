"""Which types a model's skops file may contain, beside those that skops knows as harmless, and the way out for any other."""

VOUCH = (
    "where you vouch for the code that runs when it is loaded, `adopt VERSION --allow-code` signs it as it is, for the "
    "image inference-any"
)
# Harmless, although skops does not say so: what numbers an array has.
HARMLESS_TYPES = frozenset({"numpy.dtype"})
# What a signed model may contain beside what skops itself takes for harmless: steps of our own (preparation/steps.py), and parts of
# scikit-learn's own estimators, in compiled code that does not validate its input. The input is checked (state.py), and yet they
# have to come from somebody who holds the key: what has not been thought of there is not open to everybody.
TRUSTED_TYPES = HARMLESS_TYPES | {
    "contract.preparation.steps.DateParts",
    "contract.preparation.steps.Folded",
    "contract.preparation.steps.Words",
    "sklearn.calibration._CalibratedClassifier",
    "sklearn.calibration._SigmoidCalibration",
    "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
    "sklearn.metrics._dist_metrics.EuclideanDistance64",
    "sklearn.model_selection._split.KFold",
    "sklearn.neighbors._kd_tree.KDTree",
    "sklearn.neural_network._stochastic_optimizers.AdamOptimizer",
    "sklearn.neural_network._stochastic_optimizers.SGDOptimizer",
    "sklearn.tree._tree.Tree",
}
# XGBoost's and LightGBM's models, as the trainer fits them. Their own compiled code reads them without validating them: no
# check stands before it. So they are what the trainer has made and signed itself, and `adopt` takes none.
BOOSTED_TYPES = frozenset(
    {
        "contract.boosting.lightgbm_estimators.LGBMClassifier",
        "contract.boosting.lightgbm_estimators.LGBMRegressor",
        "contract.boosting.xgboost_estimators.XGBClassifier",
        "contract.boosting.xgboost_estimators.XGBRegressor",
        "lightgbm.basic.Booster",
        "xgboost.core.Booster",
    }
)
SIGNED_TYPES = TRUSTED_TYPES | BOOSTED_TYPES
BOOSTED_LIBRARIES = ("lightgbm.", "xgboost.")

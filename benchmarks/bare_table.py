"""What `train` is measured against, on any numeric table: read_csv, the same pipeline, the same logging, nothing else.

python bare_table.py FILE.csv TARGET
"""

import sys

import mlflow
import pandas as pd
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score
from sklearn.model_selection import train_test_split

path, target = sys.argv[1:]
frame = pd.read_csv(path)
names = f"{target}_name"
X, y = frame.drop(columns=[target, *([names] if names in frame else [])]), frame[target]
X_train, X_test, y_train, y_test = train_test_split(X, y, test_size=0.2, random_state=42, stratify=y)
mlflow.set_experiment("bare script")
with mlflow.start_run():
    model = LogisticRegression(solver="lbfgs", max_iter=1000, C=1.0).fit(X_train, y_train)
    mlflow.log_params(model.get_params())
    mlflow.log_input(mlflow.data.from_pandas(frame, source=path, targets=target), context="training")
    mlflow.log_metrics(
        {
            "test_accuracy": accuracy_score(y_test, model.predict(X_test)),
            "train_accuracy": accuracy_score(y_train, model.predict(X_train)),
        }
    )
    mlflow.sklearn.log_model(
        model,
        name="model",
        serialization_format="skops",
        input_example=X_train.head(3),
        pip_requirements=["scikit-learn"],
        registered_model_name="bare_script",
    )

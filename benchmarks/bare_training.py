"""What `train` is measured against: the same fit and logging, and nothing else."""

import matplotlib.pyplot as plt
import mlflow
import pandas as pd
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import ConfusionMatrixDisplay, accuracy_score, f1_score, precision_score, recall_score
from sklearn.model_selection import train_test_split

frame = pd.read_csv("/data/iris_dataset.csv")
X, y = frame.iloc[:, :4], frame["target"]
X_train, X_test, y_train, y_test = train_test_split(X, y, test_size=0.2, random_state=42, stratify=y)
mlflow.set_experiment("bare script")
with mlflow.start_run():
    model = LogisticRegression(solver="lbfgs", max_iter=1000, C=1.0).fit(X_train, y_train)
    predicted = model.predict(X_test)
    mlflow.log_params(model.get_params())
    mlflow.log_input(mlflow.data.from_pandas(frame, source="/data/iris_dataset.csv"), context="training")
    mlflow.log_metrics(
        {
            "test_accuracy": accuracy_score(y_test, predicted),
            "train_accuracy": accuracy_score(y_train, model.predict(X_train)),
            "precision": precision_score(y_test, predicted, average="macro"),
            "recall": recall_score(y_test, predicted, average="macro"),
            "f1": f1_score(y_test, predicted, average="macro"),
        }
    )
    display = ConfusionMatrixDisplay.from_predictions(y_test, predicted)
    mlflow.log_figure(display.figure_, "confusion_matrix.png")
    plt.close(display.figure_)
    mlflow.sklearn.log_model(
        model,
        name="model",
        serialization_format="skops",
        input_example=X_train.head(3),
        pip_requirements=["scikit-learn"],
        registered_model_name="bare_script",
    )

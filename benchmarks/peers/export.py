"""Write what the peers need of a registered model: `python export.py NAME DATA.csv FOLDER`.

FOLDER gets MLflow's own files in `files`, the estimator in `model.joblib`, and in `questions.json` rows of the data in
the model's columns with scikit-learn's own answers to them. A process of its own: what it imports must not be shared
with the servers whose memory is measured.
"""

import json
import sys
from pathlib import Path

import joblib
import mlflow
import pandas as pd


def main(name: str, data: str, folder: str) -> None:
    files = Path(folder, "files")
    mlflow.artifacts.download_artifacts(f"models:/{name}@Production", dst_path=str(files))
    estimator = mlflow.sklearn.load_model(str(files))
    columns = mlflow.models.get_model_info(str(files)).signature.inputs.input_names()
    frame = pd.read_csv(data)[columns]
    joblib.dump(estimator, Path(folder, "model.joblib"))
    questions = {
        "columns": columns,
        "rows": json.loads(frame.to_json(orient="values", double_precision=15)),
        "predictions": estimator.predict(frame).tolist(),
    }
    Path(folder, "questions.json").write_text(json.dumps(questions))


if __name__ == "__main__":
    main(*sys.argv[1:])

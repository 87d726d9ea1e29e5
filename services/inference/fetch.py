"""Bring a model version's files into a folder: `python -m inference.fetch URI FOLDER`.

A process of its own, because it is the only part that must import MLflow: the memory is given back when it ends.
"""

import sys

import mlflow.artifacts

if __name__ == "__main__":
    mlflow.artifacts.download_artifacts(artifact_uri=sys.argv[1], dst_path=sys.argv[2])

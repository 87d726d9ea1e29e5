"""The inference service: pulls the model behind an alias of the MLflow registry and answers JSON."""

VERSION = "0.2.0"

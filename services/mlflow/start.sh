#!/bin/sh
# MLflow takes the address of its database from the command line or the environment only. The one of an external
# Postgres has a password in it, so it comes as a file and meets the environment here, seen by MLflow's processes alone.
set -eu
MLFLOW_BACKEND_STORE_URI=$(cat "$BACKEND_STORE_URI_FILE")
export MLFLOW_BACKEND_STORE_URI
exec "$@"

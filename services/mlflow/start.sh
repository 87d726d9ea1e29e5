#!/bin/sh
# MLflow takes the address of its database from the command line or the environment only. The one of an external
# Postgres has a password in it, so it comes as a file and meets the environment here, seen by MLflow's processes alone.
set -eu
MLFLOW_BACKEND_STORE_URI=$(cat "$BACKEND_STORE_URI_FILE")
export MLFLOW_BACKEND_STORE_URI
# So does the key that its forms are protected with, where it asks for a login.
if [ -n "${FLASK_SECRET_KEY_FILE-}" ]; then
    MLFLOW_FLASK_SERVER_SECRET_KEY=$(cat "$FLASK_SECRET_KEY_FILE")
    export MLFLOW_FLASK_SERVER_SECRET_KEY
fi
# Uploads that a killed server was in the middle of stay in its folder for temporary files, which is a volume. The server
# alone uses it; another command may be run in a container of its own beside a server that works.
if [ "${1-} ${2-}" = "mlflow server" ]; then
    set -- python published.py "$@"
    find "$TMPDIR" -mindepth 1 -delete || echo "start.sh: some of $TMPDIR could not be tidied up, see above" >&2
fi
exec "$@"

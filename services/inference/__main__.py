"""Check the settings, then become gunicorn: `python -m inference`."""

import os
import socket
import sys
from tempfile import mkdtemp

from inference.errors import SettingsError
from inference.settings import Settings


def main() -> None:
    try:
        settings = Settings.from_env(os.environ)
    except SettingsError as error:
        sys.exit(f"inference: {error}")
    try:
        socket.create_server((settings.host, settings.port)).close()
    except OSError as error:
        sys.exit(
            f"inference: cannot listen on {settings.host}:{settings.port}: {error.strerror}; "
            "INFERENCE_LISTEN_PORT chooses another port"
        )
    os.environ["INFERENCE_RUN_DIR"] = mkdtemp(prefix="inference-")
    os.execv(sys.executable, [sys.executable, "-m", "gunicorn", *_options(settings), "inference.wsgi:app"])


def _options(settings: Settings) -> list[str]:
    return [
        f"--bind={settings.host}:{settings.port}",
        f"--workers={settings.workers}",
        f"--threads={settings.threads}",
        "--worker-class=inference.worker.JsonErrorWorker",
        # Longer than a worker's first look at the registry, which comes before its first sign of life.
        "--timeout=60",
        "--graceful-timeout=20",
        # It wants a writable home, and nothing here uses it.
        "--no-control-socket",
        "--log-level=warning",
    ]


if __name__ == "__main__":
    main()

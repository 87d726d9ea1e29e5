"""Check a model folder's signature: `python -m inference.verify PUBLIC_KEY FOLDER`.

A process of its own: what it imports is needed once per change of model, not in the memory of every worker.
"""

import sys
from pathlib import Path

from model_signing import verifying

from inference.trust import SIGNATURE

if __name__ == "__main__":
    key, folder = Path(sys.argv[1]), Path(sys.argv[2])
    try:
        verifying.Config().use_elliptic_key_verifier(public_key=key).verify(folder, folder / SIGNATURE)
    except Exception as error:  # whatever the reason, what is not verified is not served
        sys.exit(f"{error}")

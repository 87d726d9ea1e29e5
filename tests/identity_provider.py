"""An identity provider for tests that speaks OpenID Connect: `python identity_provider.py ADDRESS PORT FOLDER`.

The folder has its certificate and key, and people.json: what is claimed of each person. Whoever types a name is that person.
"""

import json
import ssl
import sys
from pathlib import Path

import oidc_provider_mock
from werkzeug.serving import run_simple


def main(address: str, port: str, folder: str) -> None:
    """Answer until the process is ended."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(Path(folder, "certificate.pem"), Path(folder, "key.pem"))
    people = json.loads(Path(folder, "people.json").read_text())
    app = oidc_provider_mock.app(
        user_claims=[oidc_provider_mock.User(sub=name, claims=claims) for name, claims in people.items()]
    )
    run_simple(address, int(port), app, threaded=True, ssl_context=context)


if __name__ == "__main__":
    main(*sys.argv[1:])

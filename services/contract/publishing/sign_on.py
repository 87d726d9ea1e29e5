"""The headers in which the proxy of single sign-on (compose.sso.yaml) tells MLflow who asks.

Anybody may write them. They are believed of who shows the proxy's secret beside them, and of nobody else.
"""

import hmac

SECRET = "X-Sign-On-Secret"  # noqa: S105 - a header's name
NAME = "X-Sign-On-Name"
# Each after the mark, with commas between; the last is the name, so that no server takes blanks from the end of a group.
GROUPS = "X-Sign-On-Groups"


def mark(secret: bytes) -> str:
    """Return what stands before each group: who gives a group its name knows no such mark, whatever commas the name has."""
    return hmac.new(secret.strip(), b"groups", "sha256").hexdigest()[:32] + ":"


def marked(groups: str, before: str) -> set[str]:
    """Return the groups of a header by the mark before each, with nothing of their names changed."""
    return {group.removesuffix(",") for group in groups.split(before)[1:-1]}

"""The headers in which the proxy of single sign-on (compose.sso.yaml) tells MLflow who asks.

Anybody may write them. They are believed of who shows the proxy's secret beside them, and of nobody else.
"""

SECRET = "X-Sign-On-Secret"  # noqa: S105 - a header's name
NAME = "X-Sign-On-Name"
# With commas between.
GROUPS = "X-Sign-On-Groups"

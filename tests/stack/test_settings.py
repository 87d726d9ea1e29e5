"""Another name and other ports: allowed hosts and printed links follow."""

import requests

from tests.compose import Stack, free_ports


def test_allowed_hosts_and_links_follow_the_settings(stack: Stack) -> None:
    (port,) = free_ports(1)
    old = stack.settings["MLFLOW_PORT"]
    stack.write_env(PUBLIC_HOST="factory.test", MLFLOW_PORT=str(port))
    try:
        stack.up()
        url = f"http://127.0.0.1:{port}/api/2.0/mlflow/experiments/search?max_results=1"
        assert requests.get(url, headers={"Host": f"factory.test:{port}"}, timeout=10).status_code == 200
        assert requests.get(url, headers={"Host": "other.test"}, timeout=10).status_code == 403
        (ready,) = [line for line in stack.logs("inference").splitlines() if "Ready:" in line]
        assert f"http://factory.test:{port}" in ready
    finally:
        stack.write_env(PUBLIC_HOST="localhost", MLFLOW_PORT=old)
        stack.put_right()

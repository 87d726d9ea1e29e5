"""The browser of tests does not learn that the network changes: what it is started with refuses the sockets that tell it."""

import subprocess
import sys

import pytest

ASK = """
import socket
from tests.chromium import refuse_netlink
socket.socket(socket.AF_NETLINK, socket.SOCK_RAW).close()
refuse_netlink()
socket.socket(socket.AF_INET).close()
socket.socket(socket.AF_NETLINK, socket.SOCK_RAW)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="Linux alone has such sockets")
def test_sockets_that_tell_of_addresses_are_refused_and_no_others() -> None:
    result = subprocess.run([sys.executable, "-c", ASK], capture_output=True, text=True)
    assert result.stderr.splitlines()[-1] == "OSError: [Errno 97] Address family not supported by protocol"
    assert "line 7, in <module>" in result.stderr

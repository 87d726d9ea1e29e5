"""Start Chromium for tests: Playwright is given tests/chromium, which runs this, as the browser.

It speaks to nobody of its own accord, and does not watch the addresses of the machine: it would break off what it loads
(ERR_NETWORK_CHANGED) whenever one comes or goes, as networks of Docker do beside it, and has no option for it. Where a socket
of Linux's NETLINK family is refused, it takes the network for one that does not change. Elsewhere than on Linux it watches.
"""

import errno
import os
import shutil
import socket
import sys
from pathlib import Path

PROGRAM = Path(__file__).with_suffix("")
BROWSERS = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
"""What may be on the PATH; the first takes less than half of the processor time of the others"""
OPTIONS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


def missing() -> str | None:
    """Say that there is no browser; None where there is one."""
    return None if any(map(shutil.which, BROWSERS)) else f"none of {', '.join(BROWSERS)} is on the PATH"


def refuse_netlink() -> None:
    """Have `socket(AF_NETLINK, …)` fail in this process and in all that it starts. Raises OSError where Linux refuses it."""
    if sys.platform != "linux":
        return
    import pyseccomp

    calls = pyseccomp.SyscallFilter(pyseccomp.ALLOW)
    calls.add_rule(pyseccomp.ERRNO(errno.EAFNOSUPPORT), "socket", pyseccomp.Arg(0, pyseccomp.EQ, socket.AF_NETLINK))
    calls.load()


if __name__ == "__main__":
    browser = next(filter(None, map(shutil.which, BROWSERS)), None) or sys.exit(missing())
    refuse_netlink()
    os.execv(browser, [browser, *OPTIONS, *sys.argv[1:]])

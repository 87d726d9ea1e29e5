#!/usr/bin/env python3
"""Start Chromium for tests: Playwright is given this file as the browser.

It speaks to nobody of its own accord, and does not watch the addresses of the machine: it would break off what it loads
(ERR_NETWORK_CHANGED) whenever one comes or goes, as networks of Docker do beside it, and has no option for it. Where a socket
of Linux's NETLINK family is refused, it takes the network for one that does not change. Elsewhere than on Linux it watches.
"""

from __future__ import annotations  # the first python3 of the PATH runs it, which may be an older one

import ctypes
import os
import platform
import shutil
import struct
import sys
from pathlib import Path

PROGRAM = Path(__file__)
BROWSERS = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
"""What may be on the PATH; the first takes less than half of the processor time of the others"""
OPTIONS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)

# From Linux's headers (prctl.h, seccomp.h, filter.h, audit.h, unistd.h, socket.h).
PR_SET_NO_NEW_PRIVS, PR_SET_SECCOMP, SECCOMP_MODE_FILTER = 38, 22, 2
LOAD, JUMP_IF_EQUAL, RETURN = 0x20, 0x15, 0x06
ALLOW, REFUSE = 0x7FFF0000, 0x00050000 | 97  # EAFNOSUPPORT
NUMBER, ARCHITECTURE, FIRST_ARGUMENT = 0, 4, 16  # bytes into what a filter looks at
# Machine → its architecture, its number of socket().
SOCKET = {"x86_64": (0xC000003E, 41), "aarch64": (0xC00000B7, 198)}
AF_NETLINK = 16


def missing() -> str | None:
    """Say that there is no browser; None where there is one."""
    return None if any(map(shutil.which, BROWSERS)) else f"none of {', '.join(BROWSERS)} is on the PATH"


def refuse_netlink() -> None:
    """Have `socket(AF_NETLINK, …)` fail in this process and in all that it starts. Raises OSError where Linux refuses it."""
    if sys.platform != "linux" or platform.machine() not in SOCKET:
        return
    architecture, socket = SOCKET[platform.machine()]
    filters = [
        (LOAD, 0, 0, ARCHITECTURE),
        (JUMP_IF_EQUAL, 0, 5, architecture),
        (LOAD, 0, 0, NUMBER),
        (JUMP_IF_EQUAL, 0, 3, socket),
        (LOAD, 0, 0, FIRST_ARGUMENT),
        (JUMP_IF_EQUAL, 0, 1, AF_NETLINK),
        (RETURN, 0, 0, REFUSE),
        (RETURN, 0, 0, ALLOW),
    ]
    code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *one) for one in filters))
    program = ctypes.create_string_buffer(struct.pack("HP", len(filters), ctypes.addressof(code)))
    libc = ctypes.CDLL(None, use_errno=True)
    for arguments in ((PR_SET_NO_NEW_PRIVS, 1, 0), (PR_SET_SECCOMP, SECCOMP_MODE_FILTER, ctypes.addressof(program))):
        if libc.prctl(*map(ctypes.c_ulong, arguments), ctypes.c_ulong(0), ctypes.c_ulong(0)):
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


if __name__ == "__main__":
    browser = next(filter(None, map(shutil.which, BROWSERS)), None) or sys.exit(missing())
    refuse_netlink()
    os.execv(browser, [browser, *OPTIONS, *sys.argv[1:]])

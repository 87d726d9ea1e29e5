"""What can go wrong in a clean-up.

CleanupError            it ends with exit code 1 and this one line; what was done stays done
└── Elsewhere           files are where this does not clean up: what they belong to stays
"""


class CleanupError(Exception):
    """The clean-up cannot go on; the message names the thing and the way out."""


class Elsewhere(CleanupError):
    """Files are in no place of the stack's own."""

"""What can go wrong in a set-up job.

SetupError              the job ends with exit code 1 and this one line
"""


class SetupError(Exception):
    """A set-up job cannot do its work; the message says what to change."""

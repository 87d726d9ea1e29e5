"""What can go wrong with accounts.

AccountsError           the command ends with exit code 1 and this one line
"""


class AccountsError(Exception):
    """An account cannot be made, changed or found; the message names it and the way out."""

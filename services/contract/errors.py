"""The one error of the contract."""


class Refused(Exception):
    """A version's files do not keep to the contract; the message goes on from "it is refused: ".

    Each side turns it into an error of its own family: the trainer into VersionError, inference into ModelRefused.
    """

"""Figures, and the report of a test."""


def printable(name: str) -> str:
    """A file's name, which may be in no encoding, as it can be shown."""
    return name.encode(errors="backslashreplace").decode()

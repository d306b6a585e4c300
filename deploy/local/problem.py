"""The one error that the development tools show to a person."""


class Problem(Exception):
    """What is wrong and what would be right, as one readable message."""

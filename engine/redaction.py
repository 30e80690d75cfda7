"""Removes what messages, logs and reports must not hold: values of a corpus that Arrow quotes, credentials in URIs."""

import re

_QUOTED_VALUE = re.compile(r"(invalid value|couldn't parse|columns, got \d+)[: ].*", re.DOTALL)
"""Of pyarrow 26: `invalid value 'x'`, `couldn't parse:x`, `Expected 2 columns, got 3: the,whole,row`."""

_USER = re.compile(r"(?<=://)[^/@\s]+@")
_QUERY = re.compile(r"(://[^?\s]*)\?\S*")


def without_values(message: str) -> str:
    """A message of Arrow without the value that it failed on."""
    return _QUOTED_VALUE.sub(r"\1", message)


def without_credentials(text: str) -> str:
    """`text` without the user part and the query of its URIs. Both can hold keys."""
    return _QUERY.sub(r"\1", _USER.sub("", text))

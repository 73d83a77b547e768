"""What spawned processes run."""

import amochats


def refused_connection(url: str) -> str:
    """A call that fails, and how."""
    try:
        amochats.Client("ch", "s", base_url=url).disconnect("A")
    except amochats.AmochatsError as error:
        return error.code
    return ""

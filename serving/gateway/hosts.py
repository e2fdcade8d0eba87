"""Names that a request's Host may have, where the gateway checks it: a defence against DNS rebinding."""

import re
import socket
from collections.abc import Sequence

from handler.files import UserError

NAME = re.compile(r"(\*\.)?[A-Za-z0-9]([A-Za-z0-9_-]*[A-Za-z0-9])?(\.[A-Za-z0-9]([A-Za-z0-9_-]*[A-Za-z0-9])?)*")
MAX_LENGTH = 253


def check_hosts(names: Sequence[str]) -> None:
    """Check that these are host names.

    Raises:
        UserError: one has a scheme, a port, or characters that no name has.
    """
    for name in names:
        if len(name) > MAX_LENGTH or not NAME.fullmatch(name):
            raise UserError(
                f"{name!r} is not a host name: write example.org or *.example.org, without scheme and port."
            )


def own_hosts() -> tuple[str, ...]:
    """Return this machine's names: localhost, and its own, short and full."""
    own = socket.gethostname()
    names = {"localhost", own, own.partition(".")[0], f"{own.partition('.')[0]}.local"}
    return tuple(sorted(name for name in names if NAME.fullmatch(name)))


def hosts_to_check(allowed: Sequence[str], has_keys: bool) -> tuple[str, ...]:
    """Return the host names that the gateway accepts besides addresses; with none it accepts every name.

    A web page whose name was pointed at this machine brings no key, so with keys only a list of one's own is checked.

    Raises:
        UserError: as `check_hosts`.
    """
    if "*" in allowed or (has_keys and not allowed):
        return ()
    check_hosts(allowed)
    return tuple(dict.fromkeys([*own_hosts(), *allowed]))

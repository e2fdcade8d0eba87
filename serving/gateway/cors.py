"""Origins whose pages may use the API in a browser, checked before they become the gateway's."""

import re
from collections.abc import Sequence
from urllib.parse import urlsplit

from handler.files import UserError

# All that a browser may send as Origin, but `null`, which any page can send from a frame. Nothing in it means more
# than itself in a Caddyfile.
ORIGIN = re.compile(r"[a-z][a-z0-9+.-]*://([a-z0-9._-]+|\[[0-9a-f:.]+\])(:[1-9][0-9]{0,4})?")
DEFAULT_PORTS = {("http", 80), ("https", 443)}
ANY = "*"


def check_origins(origins: Sequence[str]) -> None:
    """Refuses an origin that no browser would send: it would be allowed in vain.

    Raises:
        UserError: the first such one.
    """
    for origin in origins:
        if origin != ANY and not _is_sent(origin):
            raise UserError(
                f"{origin!r} is not an origin as a browser sends it: scheme and host in lower case, a port where it is "
                "not the usual one, and nothing after it, as in https://example.org or http://localhost:3000."
            )


def _is_sent(origin: str) -> bool:
    if not ORIGIN.fullmatch(origin):
        return False
    try:
        parts = urlsplit(origin)
        return (parts.scheme, parts.port) not in DEFAULT_PORTS
    except ValueError:
        return False


def environment(origins: Sequence[str]) -> dict[str, str]:
    """Return the environment variables by which the Caddyfile chooses its CORS rules."""
    if not origins:
        return {"CORS": "none"}
    return {"CORS": "any"} if ANY in origins else {"CORS": "list", "CORS_ORIGINS": " ".join(origins)}

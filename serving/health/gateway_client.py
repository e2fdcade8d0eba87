"""The probes' questions, put to a gateway from outside."""

import http.client
import sys
import urllib.parse

READY_S = 5.0
LIVE_S = 15.0


def ask_gateway(question: str, url: str) -> int:
    """Ask a gateway one of the probes' questions from outside.

    Returns:
        An exit status: 0 is yes, 1 is no, with the reason on standard error, and 2 is a URL that is none.
    """
    path, patience = ("/livez", LIVE_S) if question == "live" else ("/readyz", READY_S)
    try:
        parts = urllib.parse.urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError("neither")
        host, port = parts.hostname, parts.port
        connection = http.client.HTTPConnection(host, port, timeout=patience)
        if parts.scheme == "https":
            from serving.gateway.tls import trusting

            # As the kubelet asks: nothing is sent that could be stolen, and no name that a certificate is for is known.
            connection = http.client.HTTPSConnection(host, port, timeout=patience, context=trusting(None))
    except ValueError:
        print(f"{url!r} is not a URL such as http://127.0.0.1:8080", file=sys.stderr)
        return 2
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        reason = f"{url}{path} answers {response.status}: {response.read(1000).decode(errors='replace').strip()}"
        ready = response.status == 200
    except (OSError, http.client.HTTPException) as error:
        ready, reason = False, f"{url} does not answer: {error}"
    finally:
        connection.close()
    if not ready:
        print(f"{question}: no, {reason}", file=sys.stderr)
    return not ready

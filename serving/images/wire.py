"""Words between the relay and the worker."""

# The worker's, in the run folder.
SOCKET = "images.sock"
PREFIX = "/images/"
# As handler/payload.py has it.
BOUNDARY = "x-catsdogs-boundary"
REQUEST_ID = "x-request-id"
# Largest result in bytes: the relay holds it while the client reads.
MAX_RESULT = 16 << 20

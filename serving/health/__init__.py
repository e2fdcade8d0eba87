"""Startup, readiness and liveness of the server."""

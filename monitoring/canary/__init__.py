"""Canary: a candidate and the stable track, watched until a verdict."""

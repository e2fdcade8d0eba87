"""Drift: records of predictions compared with the reference of their release."""

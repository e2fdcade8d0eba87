"""Validation: the accuracy of a running server, shown by labelled pictures."""

"""Feedback: labels that people give to predictions, by tokens that the server signed, and where they are stored."""

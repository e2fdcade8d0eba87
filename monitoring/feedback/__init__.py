"""Feedback: labels that users give to predictions, and their review before training."""

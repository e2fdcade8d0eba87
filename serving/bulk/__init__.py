"""Predictions of millions of pictures: shards, parts, and what resumes after a kill."""

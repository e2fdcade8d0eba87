"""Trackers of experiments: what they record, and MLflow and Weights & Biases behind one interface."""

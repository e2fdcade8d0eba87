"""Evaluation: metrics, slices, calibration, the report, the model card."""

"""Experiments of several runs: sweeps over values of the config, and cross-validation."""

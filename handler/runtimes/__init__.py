"""Runtimes, which run the network. Each is one file here, NAME_runtime.py, which states everything about it."""

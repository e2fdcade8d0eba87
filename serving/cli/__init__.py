"""The verbs of serving, one module each. Their packages are imported when they are called."""

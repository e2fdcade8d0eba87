"""Notebooks in jupytext's percent format, which run as they stand: see docs/how-to/notebooks.md."""

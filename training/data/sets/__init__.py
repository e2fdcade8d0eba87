"""Public datasets in the layouts that they are published in."""

"""The audit of a data set: pictures that show no class or several, and labels that are likely wrong."""

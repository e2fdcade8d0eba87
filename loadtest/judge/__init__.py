"""From what was seen to a verdict: figures, exact bounds, objectives."""

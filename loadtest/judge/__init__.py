"""The judgement of a test: from its records to figures, exact bounds and a verdict."""

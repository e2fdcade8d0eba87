"""Parts that several packages share and that need the standard library alone."""

"""The running server, watched: objectives, metrics, rules, drift."""

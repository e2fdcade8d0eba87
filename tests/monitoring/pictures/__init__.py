"""Pictures of the board, drawn from its own queries on a real Prometheus."""

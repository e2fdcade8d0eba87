"""A client of the server: predictions and checks."""

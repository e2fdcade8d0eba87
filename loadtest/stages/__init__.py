"""Cost of the server by stage, in CPU time and in wall time: `make stages`."""

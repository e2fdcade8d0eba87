"""Comparison with other servers of the same network, on the same pictures and the same machine: `make rivals`."""

"""Other servers of the same network on the same pictures, in turn on one machine: `make rivals`."""

"""The load: requests by each protocol, their arrivals, and the records of their answers."""

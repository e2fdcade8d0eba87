"""Load: requests by each protocol, their arrivals, and what was seen of them."""

"""The server's counters, as Prometheus and people read them; monitoring/metrics.yaml is the contract."""

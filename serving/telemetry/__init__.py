"""What the server counts, as Prometheus and people read it; monitoring/metrics.yaml is the contract."""

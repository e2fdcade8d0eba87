"""The Grafana board, made from the objectives."""

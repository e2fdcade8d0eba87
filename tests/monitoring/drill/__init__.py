"""The alert drill: a real server, Prometheus and Alertmanager, faults in turn, and the alerts that arrive."""

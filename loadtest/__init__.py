"""Is the service level kept? Locust puts a server under load; what it shows is judged against slo.yaml."""

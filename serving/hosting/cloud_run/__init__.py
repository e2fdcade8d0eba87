"""Google Cloud Run: the server as a service, and training as a job."""

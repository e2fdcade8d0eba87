"""Places to run the server other than Kubernetes: one machine with Docker Compose, Cloud Run, Render, Hugging Face."""

"""Deployment of an image on one machine by Docker Compose, which goes back to the previous image if it does not serve.

    python3 -m compose_deploy ghcr.io/example/catsdogs-serve:0.3.0-cpu --directory /srv/catsdogs

The folder is copied to the machine, which needs Python 3.10, Docker with Compose 2, a compose.yaml, and nothing else of
this repository. So its modules import the standard library, and one another relatively.
"""

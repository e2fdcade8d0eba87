"""The relay between Caddy and TorchServe: receives each request in full, within bounds, before TorchServe sees it."""

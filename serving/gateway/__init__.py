"""The gateway: Caddy, the relay, keys, TLS, CORS, OpenAPI, the page."""

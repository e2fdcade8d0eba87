"""The REST API as OpenAPI 3.1, for the model that is served."""

"""The description of the HTTP API, OpenAPI 3.1, by resource; each call's bodies are the types that it decodes."""

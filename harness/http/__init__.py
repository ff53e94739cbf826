"""One HTTP client for the preflight request, the readiness check and the load: URLs, TLS, redirects, cookies."""

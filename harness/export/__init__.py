"""Live metrics for Prometheus and OpenTelemetry, and webhooks."""

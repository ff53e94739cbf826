"""Children that never outlive the harness."""

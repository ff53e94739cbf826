"""From what was measured to a verdict: tests, findings, and what weakens them."""

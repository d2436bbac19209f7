"""Images fitted and judged."""

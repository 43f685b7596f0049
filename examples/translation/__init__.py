"""Published translation settings, the demo, and the studies of translation."""

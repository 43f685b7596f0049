"""Whole tasks on the plugin: from public data, or a user's own, to the score."""

"""Time and memory, as ratios against the floors that a step could reach."""

"""Architectures that expose their layer states."""

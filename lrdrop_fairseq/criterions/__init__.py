"""Criterions that train with LR-Drop."""

"""Hydra composes a configuration in a third of the time of a small training; this halves it."""

from hydra.core.config_store import ConfigStore


def share_config_store():
    """Composing copies hydra's store, with the options of every architecture, so that adding a
    search path does not change it.  Nothing here adds one, and of what is read each reader gets a
    copy in any case."""
    ConfigStore.__deepcopy__ = lambda self, memo: self

"""What a process reads once, when it starts."""

# Read when Python, torch or the C library starts: where one differs from the server's, so may
# the run.
READ_AT_START = ("PYTHON", "OMP_", "MKL_", "TORCH", "LD_", "LC_", "LANG", "MALLOC_")


def settings(environment):
    """What ``environment`` says that a process reads once, when it starts."""
    return {
        name: value
        for name, value in environment.items()
        if name.startswith(READ_AT_START)
        # These a fork can follow; and with one thread, as in the server, none waits.
        and name not in ("PYTHONPATH", "PYTHONUNBUFFERED", "OMP_WAIT_POLICY")
        and not name.startswith(("TORCHELASTIC_", "TORCH_NCCL_"))  # of torchrun, for later
        and (name, value) != ("PYTHONWARNINGS", "ignore")
    }

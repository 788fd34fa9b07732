"""What goes wrong in the workers of a pool of processes: initialisers, which such a process can import."""

import errno
import os
import signal
from pathlib import Path


def die_at(name, mark):
    """Be killed at a tensor of that name, unless a process before has been."""
    from heavytail.analysis import jobs

    run = jobs.run

    def killed(job, cache=None):
        if job.plan.tensor.name == name and not Path(mark).exists():
            Path(mark).touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return run(job, cache)

    jobs.run = killed


def have_another_version():
    """Run another version of the library."""
    import heavytail

    heavytail.__version__ = "0.0.1"


def be_blind_to(name):
    """See no file of that name."""
    stat = Path.stat

    def blind(self, **options):
        if self.name == name:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(self))
        return stat(self, **options)

    Path.stat = blind

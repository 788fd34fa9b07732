"""Where bytes stand: on a disk, or behind a URL."""

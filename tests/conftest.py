from hypothesis import settings

# The same examples on every machine and nothing written to disk; a slow shared processor is no failure.
settings.register_profile("house", derandomize=True, deadline=None, database=None, max_examples=60)
settings.load_profile("house")

"""Work on other machines, by dask.distributed: what they must have, and cases run there."""

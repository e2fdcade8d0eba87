"""Everything inside the archive: the handler class, the preprocessing, the runtimes."""

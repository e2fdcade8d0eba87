"""A resumable download of one file, whatever the client that asks for it."""

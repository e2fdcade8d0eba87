"""Archives from web servers and buckets."""

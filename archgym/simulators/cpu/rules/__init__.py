"""Rules of a cache: replacement and prefetch that users write."""

"""Rules of users that say which blocks of a prefix cache are evicted."""

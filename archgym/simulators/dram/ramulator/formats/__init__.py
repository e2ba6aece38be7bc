"""Device files of users, and scripts of Ramulator 2.1."""

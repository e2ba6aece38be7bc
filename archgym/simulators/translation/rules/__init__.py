"""Rules of a TLB: replacement and prefetch that users write."""

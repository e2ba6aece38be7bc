"""Rules as code: caches of experts under replacement rules that users write."""

"""Control of prefix caches."""

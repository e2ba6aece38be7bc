"""Control of memory controllers."""

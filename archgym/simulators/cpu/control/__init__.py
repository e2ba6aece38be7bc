"""Control of cores."""

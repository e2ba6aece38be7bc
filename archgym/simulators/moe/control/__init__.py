"""Control of servers of MoE models."""

"""Address translation: TLBs, page walks, and hardware that makes them cheaper."""

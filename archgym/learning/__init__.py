"""What learning agents share: their random numbers, and the libraries that train for them."""

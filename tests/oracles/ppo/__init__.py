"""One whole update of PPO, written out in float64 NumPy, and the small world in which ours is compared with it."""

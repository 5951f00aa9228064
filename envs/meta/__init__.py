"""Meta-RL: tasks drawn once per trial, and what makes trials of them."""

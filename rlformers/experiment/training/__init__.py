"""Training: the loop around the compiled update, and what it watches."""

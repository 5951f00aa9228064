"""Looking inside one agent: episodes as it lives them, and what its memory does."""

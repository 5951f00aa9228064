"""Run directories, and what their files say."""

"""Agents, made of encoder, memory core, actor and critic, and the PPO that trains them."""

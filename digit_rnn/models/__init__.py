"""The network, its training, and how far its answers can be trusted."""

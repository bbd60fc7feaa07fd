"""Images for the network: MNIST, its random changes in training, and pictures to read."""

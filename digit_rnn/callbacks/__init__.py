"""What happens around a run: its folder, its progress on the screen, its records and its results."""

"""How fast the trainer is, and what it needs: measured on its own compiled programs."""

"""What a command will cost, and what would run again."""

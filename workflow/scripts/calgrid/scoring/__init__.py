"""Log-probabilities of every answer option, and what confidence is made of them."""

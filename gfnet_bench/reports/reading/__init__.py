"""What records say: which number one is, what its row is called, of how much of a set, and which may stand together."""

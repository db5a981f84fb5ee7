"""What removing channels would bring, before anything is trained, and what would let more of them go."""

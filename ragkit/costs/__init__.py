"""What answers cost: tokens, CPU time, memory, energy and carbon."""

"""What RAIN is compared with. Each method has the search's own signature, so that one driver runs them all."""

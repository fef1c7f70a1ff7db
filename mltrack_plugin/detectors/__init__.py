"""What is known of a detector."""

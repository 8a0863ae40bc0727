"""What gone workers held goes back into its queues."""

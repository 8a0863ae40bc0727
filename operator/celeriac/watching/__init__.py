"""What is known of the cluster: watches, the store that they fill, and which pools are in line."""

"""What augmentation does to a batch of images."""

"""What comes back from recipients: receipts, texts, bounces."""

"""What people look at: the HTML page and what it draws attention to."""

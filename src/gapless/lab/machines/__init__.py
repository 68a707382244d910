"""What a lab is made of: namespaces that are machines, cables and switches between them, and processes on them."""

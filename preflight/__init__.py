"""Looking at machines of one's own over SSH before anything is changed on them."""

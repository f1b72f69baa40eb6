"""Episodes for other people's tools."""

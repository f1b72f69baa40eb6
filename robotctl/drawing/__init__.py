"""What things look like: meshes, poses, cameras, and pictures drawn on the processor alone."""

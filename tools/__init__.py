"""Programs of the project itself: none of them is installed with the package."""

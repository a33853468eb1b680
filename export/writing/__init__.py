"""Write a bundle to disk, after its graphs have been run as the service will run them."""

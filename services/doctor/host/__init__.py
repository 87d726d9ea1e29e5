"""What is seen from outside of the containers, by docker and by HTTP. The standard library alone: nothing else need work."""

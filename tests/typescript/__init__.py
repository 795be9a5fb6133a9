"""The TypeScript module and its examples, under node and Modal's own SDK, against the app on a loopback."""

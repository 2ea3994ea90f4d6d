/** What Node takes to start and to end: the floor under every other process. */

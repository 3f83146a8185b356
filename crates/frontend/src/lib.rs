//! Listener, TLS, client authentication, command loop.

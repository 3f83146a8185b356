//! Dialing, authenticating to and talking with one real server.

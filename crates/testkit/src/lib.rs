//! Servers, clients and scripted peers for tests.

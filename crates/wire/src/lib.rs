//! The MySQL client/server protocol as pure values: packets, handshake, authentication, commands, the ends of results.
//!
//! No I/O, no tokio, no clock, no random source. Source: MySQL Internals "Client/Server Protocol" and MariaDB Knowledge Base
//! "Clients & Utilities / Protocol"; PROXY headers, which come before it, are haproxy's. Nothing here trusts a length that a peer sent. Rows are never decoded on the way of a client's result.

pub mod auth;
pub mod column;
pub mod command;
pub mod handshake;
pub mod packet;
pub mod proxy_protocol;
pub mod query_attributes;
pub mod row;
pub mod stored_password;

mod flags;
mod read;
mod reply;
mod walk;

pub use flags::{CapabilityFlags, StatusFlags};
pub use read::WireError;
pub use reply::{EofPacket, ErrPacket, OkPacket, column_count, is_err_frame, patch_status};
pub use walk::{Reply, ReplyShape, ReplyWalker, ResultEnd, Walk};

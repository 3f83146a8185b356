//! What must hold for every input, target by target. The fuzz targets try it with inputs of their own, `tests/fuzz_seeds.rs` with the kept ones.

pub mod analyse;
pub mod compressed;
pub mod lexer;
pub mod messages;
pub mod mode;
pub mod packets;
pub mod proxy_protocol;
pub mod replies;
pub mod split;

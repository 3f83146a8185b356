//! A reply is walked to the same end however its bytes arrive, and what is passed on before its last frame are its own bytes.

use grove_wire::{CapabilityFlags, Reply, ReplyShape, ReplyWalker, WireError};

/// Panics if it does not hold for this input: shape, length of the pieces, eight bytes of capabilities, the stream.
pub fn check(input: &[u8]) {
    let Some((&[shape, piece], rest)) = input.split_first_chunk::<2>() else {
        return;
    };
    let Some((flags, stream)) = rest.split_first_chunk::<8>() else {
        return;
    };
    let shapes = [
        ReplyShape::Query,
        ReplyShape::SingleOk,
        ReplyShape::Prepare,
        ReplyShape::FieldList,
        ReplyShape::SinglePacket,
        ReplyShape::Fetch,
    ];
    let shape = shapes[usize::from(shape) % shapes.len()];
    let capabilities = CapabilityFlags(u64::from_le_bytes(*flags));
    let whole = walk(stream, stream.len().max(1), shape, capabilities);
    let pieces = walk(stream, usize::from(piece).max(1), shape, capabilities);
    match (&whole, &pieces) {
        // In pieces an end may be found before the bytes that would be wrong have come.
        (Err(_), _) => {}
        (whole, pieces) => assert_eq!(whole, pieces),
    }
}

/// Length of the whole reply, and what it said; `None` if it does not end.
fn walk(
    stream: &[u8],
    piece: usize,
    shape: ReplyShape,
    capabilities: CapabilityFlags,
) -> Result<Option<(usize, Reply)>, WireError> {
    let (mut walker, mut buffer, mut passed) = (ReplyWalker::new(shape, capabilities), Vec::new(), 0);
    for piece in stream.chunks(piece) {
        buffer.extend_from_slice(piece);
        let walk = walker.walk(&buffer)?;
        assert!(walk.forward <= buffer.len());
        passed += walk.forward;
        if walk.done {
            assert!(walk.forward + walk.last_len <= buffer.len());
            return Ok(Some((passed + walk.last_len, walker.finish())));
        }
        buffer.drain(..walk.forward);
    }
    Ok(None)
}

//! One stream in pieces: the first bytes of the input say where it is cut.

/// The first byte is the number of cuts (at most 15), each of the next ones a piece's length;
/// the rest is the stream.
pub(crate) fn split(data: &[u8]) -> (Vec<&[u8]>, &[u8]) {
    let Some((count, rest)) = data.split_first() else { return (Vec::new(), &[]) };
    let (lens, stream) = rest.split_at(usize::from(count & 15).min(rest.len()));
    let (mut pieces, mut left) = (Vec::new(), stream);
    for len in lens {
        let (piece, after) = left.split_at(usize::from(*len).min(left.len()));
        pieces.push(piece);
        left = after;
    }
    pieces.push(left);
    (pieces, stream)
}

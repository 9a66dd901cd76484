//! Messages in a stream: two octets of length before each (RFC 1035 §4.2.2, RFC 7766 §8). Octets in, messages out;
//! no socket.

/// What the front of a stream holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "octets that are not consumed come again"]
pub enum Frame<'s> {
    /// A whole message.
    Complete {
        /// The message without its length.
        message: &'s [u8],
        /// Octets of the stream it took: drop so many before the next look.
        consumed: usize,
    },
    /// More has to come.
    Incomplete {
        /// Octets that are missing, as far as can be known: 1 or 2 before the length is there.
        needed: usize,
    },
}

/// The first message of `stream`. Costs nothing but a look at the length.
///
/// ```
/// use pop_dns::{Frame, first_frame};
///
/// assert_eq!(first_frame(&[0]), Frame::Incomplete { needed: 1 });
/// assert_eq!(first_frame(&[0, 3, 7]), Frame::Incomplete { needed: 2 });
/// assert_eq!(first_frame(&[0, 1, 7, 0]), Frame::Complete { message: &[7], consumed: 3 });
/// ```
pub fn first_frame(stream: &[u8]) -> Frame<'_> {
    let Some((length, rest)) = stream.split_first_chunk() else {
        return Frame::Incomplete { needed: 2 - stream.len() };
    };
    let length = usize::from(u16::from_be_bytes(*length));
    match rest.get(..length) {
        Some(message) => Frame::Complete { message, consumed: 2 + length },
        None => Frame::Incomplete { needed: length - rest.len() },
    }
}

/// The length to send before a message of `octets`; `None` for more than 65,535.
#[must_use]
pub fn frame_length(octets: usize) -> Option<[u8; 2]> {
    u16::try_from(octets).ok().map(u16::to_be_bytes)
}

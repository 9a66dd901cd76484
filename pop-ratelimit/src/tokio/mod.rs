//! Waiting for tokens instead of refusing: on tokio's timer.

mod shaped;
mod wait;

pub use shaped::{Lane, SHAPED_CHUNK_MAX, Shaped};
pub use wait::{Patience, WaitError};

use crate::Timestamp;

/// The clock that waiting goes by: tokio's, so that a paused clock pauses this too, on the scale of the process clock.
fn now() -> Timestamp {
    crate::clock::stamp(tokio::time::Instant::now().into_std())
}

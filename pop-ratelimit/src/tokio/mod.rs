//! Waiting for tokens instead of refusing: on tokio's timer.

mod shaped;
mod wait;

pub use shaped::{Lane, SHAPED_CHUNK_MAX, Shaped};
pub use wait::{Patience, WaitError};

use crate::Timestamp;

/// The clock that waiting goes by: tokio's, so that a paused clock pauses this too, counted from where the process
/// clock starts.
fn now() -> Timestamp {
    let start = crate::clock::start();
    Timestamp::ZERO.saturating_add(tokio::time::Instant::now().into_std().saturating_duration_since(start))
}

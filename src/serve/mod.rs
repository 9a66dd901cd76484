//! Connections from clients: accepted within bounds, watched by deadlines, spoken to by hyper.
//!
//! hyper parses; what it lets through that an edge must not is caught here: before it, by a scanner of the octets
//! that come in ([`head`], [`frames`]), and after it, by a look at the parsed head ([`identity`]).

mod connection;
mod driver;
mod frames;
#[cfg(fuzzing)]
pub mod fuzz;
mod head;
pub(crate) mod identity;
mod io;
mod listener;

pub(crate) use connection::{Handler, Shared};
pub(crate) use listener::{Bound, Drain, bind, serve};

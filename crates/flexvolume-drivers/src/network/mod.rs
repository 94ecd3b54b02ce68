//! What the drivers of network file systems have in common: their mount options as words with types, what an
//! administrator allows beyond them, and the life of a mount whose server may be gone.

mod diagnosis;
mod error;
mod grants;
mod share;
mod words;

pub(crate) use diagnosis::{module, port};
pub use error::NetworkError;
pub(crate) use error::Result;
pub(crate) use grants::Grants;
pub(crate) use share::{Reached, Request, Shares, address_of};
pub(crate) use words::{Given, Kind, Vocabulary, Word};

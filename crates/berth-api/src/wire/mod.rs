//! The types that travel, in numbered versions, apart from the domain types and from what is stored.
//!
//! A version never changes the meaning of a field once released; what must change gets a new version
//! beside the old one. Nothing here talks to anybody: that is the client's and the server's affair.

pub mod v1;

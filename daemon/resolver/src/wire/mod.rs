//! The wire format as far as the path of every question needs it: questions in, answers from templates out. What is
//! rare (records of upstreams, of rewrites) is read and written by hickory-proto.

pub(crate) mod name;
pub(crate) mod question;
pub(crate) mod reply;
pub(crate) mod text;
pub(crate) mod walk;

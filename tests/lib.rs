//! The tests of the whole live beside this file; see each one.

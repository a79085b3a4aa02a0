//! Tests of the consensus rules through the public API: against a simple reference implementation of the difficulty
//! rule, with the edge cases of ZIP-215 signatures, and against the vectors in `vectors/`.

mod difficulty;
mod reference;
mod vectors;
mod zip215;

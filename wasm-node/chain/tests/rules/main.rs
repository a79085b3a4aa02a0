//! The rules as another implementation would see them: against a plain transcription of the difficulty rule, against
//! the odd keys and signatures of ZIP-215, and against the vectors in `vectors/`. Only the public API is used.

mod difficulty;
mod reference;
mod vectors;
mod zip215;

//! Bindings: a peer proves which author it is. The network key of a peer is not the key that signs its readings, so only
//! a binding links the two. In a private room it is sealed, so it also proves that the peer has the room's key, and
//! others cannot see it. Specified in docs/chain.md, "Bindings".

use alloc::vec::Vec;

use borsh::{
    BorshDeserialize as _, BorshSerialize,
    io::{Read, Result as IoResult, Write},
};

use crate::{
    content::ReadingForm,
    hash::{RoomId, bytes_newtype},
    key::{Author, SecretKey, Signature},
    room::Room,
    room_key::Purpose,
};

/// Prefix of every signed binding.
const SIGNING_TAG: &[u8] = b"heartchain/binding/2";
/// Length of what is sealed: the author and its signature.
const PLAIN_LEN: usize = Author::LEN + Signature::LEN;

bytes_newtype! {
    /// An author and its signature, sealed: 96 bytes and a tag of 16.
    SealedBinding, 112
}

/// The proof that a peer acts for an author, as received: not checked yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Binding {
    /// In an open room: the proof in the clear.
    Open {
        /// The author that the peer acts for.
        author: Author,
        /// The author's signature over the peer's ID.
        signature: Signature,
    },
    /// In a private room: the same proof, sealed.
    Sealed(SealedBinding),
}

impl Binding {
    /// Decodes a binding of a room whose readings have this form.
    ///
    /// # Errors
    /// If there are too few bytes.
    pub fn deserialize<R: Read>(form: ReadingForm, reader: &mut R) -> IoResult<Self> {
        Ok(match form {
            ReadingForm::Open => Self::Open {
                author: Author::deserialize_reader(reader)?,
                signature: Signature::deserialize_reader(reader)?,
            },
            ReadingForm::Sealed => Self::Sealed(SealedBinding::deserialize_reader(reader)?),
        })
    }
}

/// The bytes alone, without a tag: the room determines their form.
impl BorshSerialize for Binding {
    fn serialize<W: Write>(&self, writer: &mut W) -> IoResult<()> {
        match self {
            Self::Open { author, signature } => {
                author.serialize(writer)?;
                signature.serialize(writer)
            }
            Self::Sealed(sealed) => sealed.serialize(writer),
        }
    }
}

impl Room {
    /// Proves that the peer with the ID `peer` acts for the author with this key. `None` in a private room whose key is
    /// not known here.
    #[must_use]
    pub fn bind(&self, key: &SecretKey, peer: &[u8]) -> Option<Binding> {
        let author = key.author();
        let signature = key.sign_bytes(&signed_bytes(self.id(), &author, peer));
        if self.form() == ReadingForm::Open {
            return Some(Binding::Open { author, signature });
        }
        let plain = [&author.as_bytes()[..], signature.as_bytes()].concat();
        let sealed = self.ciphers()?.seal(Purpose::Binding(peer), &plain);
        Some(Binding::Sealed(SealedBinding::new(sealed)))
    }

    /// The author that the peer with the ID `peer` acts for; `None` if the binding does not prove it, or cannot be opened
    /// here.
    #[must_use]
    pub fn bound_author(&self, binding: &Binding, peer: &[u8]) -> Option<Author> {
        let (author, signature) = match (self.form(), binding) {
            (ReadingForm::Open, Binding::Open { author, signature }) => (*author, *signature),
            (ReadingForm::Sealed, Binding::Sealed(sealed)) => {
                let plain = self
                    .ciphers()?
                    .open::<PLAIN_LEN>(Purpose::Binding(peer), sealed.as_bytes())?;
                let (author, signature) = plain.split_first_chunk()?;
                (
                    Author::new(*author),
                    Signature::new(signature.try_into().ok()?),
                )
            }
            (ReadingForm::Open, Binding::Sealed(_))
            | (ReadingForm::Sealed, Binding::Open { .. }) => return None,
        };
        let message = signed_bytes(self.id(), &author, peer);
        author.has_signed(&message, &signature).then_some(author)
    }
}

fn signed_bytes(room: RoomId, author: &Author, peer: &[u8]) -> Vec<u8> {
    [SIGNING_TAG, room.as_bytes(), author.as_bytes(), peer].concat()
}

#[cfg(test)]
mod tests;

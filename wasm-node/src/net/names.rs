//! Whom a neighbour knows: `/heartchain/1/{room}/neighbours`. An empty request, and an answer of at most
//! [`config::MAX_INTRODUCED`] names, as borsh writes a list of byte strings; both framed by `codec`.
//! Never believes more than names: the way to a peer leads through the neighbour that named it.

use std::io;

use borsh::BorshDeserialize;
use libp2p::PeerId;

use crate::config;

/// Names of peers, no more than may be told.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct PeerNames(Vec<PeerId>);

impl PeerNames {
    /// The first of these peers that fit.
    pub(crate) fn new(peers: impl IntoIterator<Item = PeerId>) -> Self {
        Self(peers.into_iter().take(config::MAX_INTRODUCED).collect())
    }

    /// Who is named.
    pub(crate) fn peers(&self) -> &[PeerId] {
        &self.0
    }

    /// The answer.
    ///
    /// # Errors
    /// None while there is memory.
    pub(crate) fn encode(&self) -> io::Result<Vec<u8>> {
        let names: Vec<Vec<u8>> = self.0.iter().map(|peer| peer.to_bytes()).collect();
        borsh::to_vec(&names).map_err(invalid)
    }

    /// Reads an answer. What is no name in it is passed over.
    ///
    /// # Errors
    /// If it is no list of byte strings.
    pub(crate) fn decode(answer: &[u8]) -> io::Result<Self> {
        let names = Vec::<Vec<u8>>::try_from_slice(answer).map_err(invalid)?;
        Ok(Self::new(
            names
                .iter()
                .filter_map(|name| PeerId::from_bytes(name).ok()),
        ))
    }
}

/// borsh has an error of its own where there may be no `std`.
#[expect(
    clippy::needless_pass_by_value,
    reason = "used as a function for map_err"
)]
fn invalid(error: borsh::io::Error) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error.to_string())
}

#[cfg(test)]
mod tests {
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    #[test]
    fn names_survive_the_wire_and_no_more_are_told_than_may_be() {
        for (given, told) in [(0, 0), (1, 1), (24, 24), (25, 24), (1_000, 24)] {
            let peers: Vec<PeerId> = (0..given).map(|_| PeerId::random()).collect();
            let names = PeerNames::new(peers.clone());
            let answer = names.encode().expect("memory");
            assert!(answer.len() <= config::MAX_INTRODUCTION_LEN);
            let back = PeerNames::decode(&answer).expect("as written");
            assert_eq!(back, names);
            assert_eq!(back.peers(), &peers[..told]);
        }
    }

    #[test]
    fn what_is_no_list_of_names_is_refused_and_what_is_no_name_passed_over() {
        for garbage in [&[][..], &[1, 2, 3], &[1], &[0xFF; 12]] {
            assert!(PeerNames::decode(garbage).is_err(), "{garbage:?}");
        }
        let peer = PeerId::random();
        let mixed = borsh::to_vec(&vec![vec![1, 2, 3], peer.to_bytes()]).expect("memory");
        let names = PeerNames::decode(&mixed).expect("a list");
        assert_eq!(names.peers(), [peer]);
    }
}

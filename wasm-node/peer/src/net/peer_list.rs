//! The peer exchange protocol `/heartchain/2/{room}/neighbours`: an empty request, and a response of at most
//! [`MAX_EXCHANGED_PEERS`] peer IDs, encoded by borsh as a list of byte strings; `codec` frames both.
//! It carries no addresses: a peer is reached through the neighbour that reported it.
//! Specified in docs/protocols.md, "Peer exchange".

use std::io;

use super::peer_exchange::MAX_EXCHANGED_PEERS;
use borsh::BorshDeserialize;
use libp2p::PeerId;

/// Bytes of such an answer: a peer ID takes about 40.
pub(crate) const MAX_PEER_LIST_LEN: usize = 2 * 1024;

/// Peer IDs, at most [`MAX_EXCHANGED_PEERS`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct PeerList(Vec<PeerId>);

impl PeerList {
    /// A list of the first peers that fit.
    pub(crate) fn new(peers: impl IntoIterator<Item = PeerId>) -> Self {
        Self(peers.into_iter().take(MAX_EXCHANGED_PEERS).collect())
    }

    /// The peers in the list.
    pub(crate) fn peers(&self) -> &[PeerId] {
        &self.0
    }

    /// Encodes the list as a response.
    ///
    /// # Errors
    /// Never in practice: writing to memory does not fail.
    pub(crate) fn encode(&self) -> io::Result<Vec<u8>> {
        let ids: Vec<Vec<u8>> = self.0.iter().map(|peer| peer.to_bytes()).collect();
        borsh::to_vec(&ids).map_err(invalid)
    }

    /// Decodes a response. Entries that are not peer IDs are skipped.
    ///
    /// # Errors
    /// If the response is not a list of byte strings.
    pub(crate) fn decode(response: &[u8]) -> io::Result<Self> {
        let ids = Vec::<Vec<u8>>::try_from_slice(response).map_err(invalid)?;
        Ok(Self::new(
            ids.iter().filter_map(|id| PeerId::from_bytes(id).ok()),
        ))
    }
}

/// Converts borsh's error type, which it has of its own because it supports `no_std`.
#[expect(
    clippy::needless_pass_by_value,
    reason = "used as a function for map_err"
)]
fn invalid(error: borsh::io::Error) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn list_is_cut_to_the_limit_and_round_trips() {
        for (given, kept) in [(0, 0), (1, 1), (24, 24), (25, 24), (1_000, 24)] {
            let peers: Vec<PeerId> = (0..given).map(|_| PeerId::random()).collect();
            let list = PeerList::new(peers.clone());
            let response = list.encode().expect("memory");
            assert!(response.len() <= MAX_PEER_LIST_LEN);
            let back = PeerList::decode(&response).expect("as written");
            assert_eq!(back, list);
            assert_eq!(back.peers(), &peers[..kept]);
        }
    }

    #[test]
    fn bad_list_is_refused_and_bad_entries_skipped() {
        for garbage in [&[][..], &[1, 2, 3], &[1], &[0xFF; 12]] {
            assert!(PeerList::decode(garbage).is_err(), "{garbage:?}");
        }
        let peer = PeerId::random();
        let mixed = borsh::to_vec(&vec![vec![1, 2, 3], peer.to_bytes()]).expect("memory");
        let list = PeerList::decode(&mixed).expect("a list");
        assert_eq!(list.peers(), [peer]);
    }
}

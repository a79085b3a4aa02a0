//! The circuits that are dialled for direct connections, and why one failed. Pure: it never dials.
//!
//! The relay client of rust-libp2p dials the relay for each circuit, unless it is connected. That dial fails at once while
//! another dial of the same relay runs, for instance one for a reservation, and the circuit fails with it, without a cause.
//! Such a circuit is dialled again when the other dial has ended.

use litemap::LiteMap;

/// The maximum number of dials that are followed. A circuit over a relay whose dial is not followed is dialled once only.
const MAX_DIALS: usize = 128;

/// The maximum number of circuits that wait for the dial of their relay.
const MAX_WAITING: usize = 32;

/// A circuit `A` to the peer `P`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Circuit<P, A> {
    pub(crate) peer: P,
    pub(crate) relay: Option<P>,
    pub(crate) address: A,
}

/// What follows from a failed dial.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum AfterFailure<P, A> {
    /// Dial this circuit again.
    Repeat(Circuit<P, A>),
    /// There is no circuit to this peer. The text says why the relay could not be dialled, if that is the cause.
    GiveUp(P, Option<String>),
    /// Nothing: it was no circuit, or the circuit waits.
    Nothing,
}

#[derive(Debug)]
struct Running<P, A> {
    circuit: Circuit<P, A>,
    /// Another dial of the relay was running when this one began.
    contended: bool,
    relay_failure: Option<String>,
}

/// The dials of a swarm, as far as circuits depend on them.
#[derive(Debug)]
pub(crate) struct Circuits<P, A, C> {
    dials: LiteMap<C, P>,
    running: LiteMap<C, Running<P, A>>,
    waiting: Vec<Circuit<P, A>>,
}

impl<P: Copy + Ord, A, C: Copy + Ord> Circuits<P, A, C> {
    pub(crate) fn new() -> Self {
        Self {
            dials: LiteMap::new(),
            running: LiteMap::new(),
            waiting: Vec::new(),
        }
    }

    /// Records that the swarm dials a peer.
    pub(crate) fn dial_began(&mut self, dial: C, peer: P) {
        if self.dials.len() < MAX_DIALS {
            self.dials.insert(dial, peer);
        }
    }

    /// Records that this circuit is about to be dialled.
    pub(crate) fn circuit_began(&mut self, dial: C, circuit: Circuit<P, A>) {
        let contended = self.is_dialling(circuit.relay);
        let running = Running {
            circuit,
            contended,
            relay_failure: None,
        };
        self.running.insert(dial, running);
    }

    /// Records that a dial has succeeded. [`next_waiting`](Self::next_waiting) may return a circuit afterwards.
    pub(crate) fn established(&mut self, dial: &C) {
        self.dials.remove(dial);
        self.running.remove(dial);
    }

    /// Records that a dial has failed, for the reason that `describe` returns. [`next_waiting`](Self::next_waiting) may return
    /// a circuit afterwards.
    pub(crate) fn failed(&mut self, dial: &C, describe: impl Fn() -> String) -> AfterFailure<P, A> {
        if let Some(peer) = self.dials.remove(dial) {
            for (_, running) in self.running.iter_mut() {
                if running.circuit.relay == Some(peer) {
                    running.relay_failure = Some(describe());
                }
            }
        }
        let Some(failed) = self.running.remove(dial) else {
            return AfterFailure::Nothing;
        };
        let is_dialling = self.is_dialling(failed.circuit.relay);
        if !failed.contended && !is_dialling {
            AfterFailure::GiveUp(failed.circuit.peer, failed.relay_failure)
        } else if !is_dialling {
            AfterFailure::Repeat(failed.circuit)
        } else if self.waiting.len() < MAX_WAITING {
            self.waiting.push(failed.circuit);
            AfterFailure::Nothing
        } else {
            AfterFailure::GiveUp(failed.circuit.peer, failed.relay_failure)
        }
    }

    /// A circuit that waited for a dial of its relay which has ended.
    pub(crate) fn next_waiting(&mut self) -> Option<Circuit<P, A>> {
        let ready = |circuit: &Circuit<P, A>| !self.is_dialling(circuit.relay);
        let index = self.waiting.iter().position(ready)?;
        Some(self.waiting.swap_remove(index))
    }

    fn is_dialling(&self, peer: Option<P>) -> bool {
        peer.is_some_and(|peer| self.dials.values().any(|dialled| *dialled == peer))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RELAY: u8 = 1;
    const PEER: u8 = 2;

    fn circuit() -> Circuit<u8, &'static str> {
        Circuit {
            peer: PEER,
            relay: Some(RELAY),
            address: "circuit",
        }
    }

    fn circuits() -> Circuits<u8, &'static str, u32> {
        Circuits::new()
    }

    fn reason() -> String {
        "refused".to_owned()
    }

    #[test]
    fn circuit_waits_for_another_dial_of_its_relay() {
        for relay_opens in [true, false] {
            let mut circuits = circuits();
            circuits.dial_began(10, RELAY);
            circuits.circuit_began(20, circuit());
            assert_eq!(circuits.failed(&20, reason), AfterFailure::Nothing);
            assert_eq!(circuits.next_waiting(), None, "the relay is dialled");
            if relay_opens {
                circuits.established(&10);
            } else {
                assert_eq!(circuits.failed(&10, reason), AfterFailure::Nothing);
            }
            assert_eq!(circuits.next_waiting(), Some(circuit()));
            assert_eq!(circuits.next_waiting(), None);
        }
    }

    #[test]
    fn circuit_is_repeated_at_once_if_the_dial_has_ended() {
        let mut circuits = circuits();
        circuits.dial_began(10, RELAY);
        circuits.circuit_began(20, circuit());
        circuits.established(&10);
        assert_eq!(
            circuits.failed(&20, reason),
            AfterFailure::Repeat(circuit())
        );
        // The second time, nothing else was dialled.
        circuits.circuit_began(21, circuit());
        let end = AfterFailure::GiveUp(PEER, None);
        assert_eq!(circuits.failed(&21, reason), end);
    }

    #[test]
    fn failure_names_why_the_relay_was_not_reached() {
        let mut circuits = circuits();
        circuits.circuit_began(20, circuit());
        // The relay client dials the relay for the circuit.
        circuits.dial_began(21, RELAY);
        assert_eq!(circuits.failed(&21, reason), AfterFailure::Nothing);
        let end = AfterFailure::GiveUp(PEER, Some(reason()));
        assert_eq!(circuits.failed(&20, || "canceled".to_owned()), end);
        assert_eq!(circuits.failed(&20, reason), AfterFailure::Nothing);
    }

    #[test]
    fn dials_and_waiting_circuits_are_bounded() {
        let mut circuits = circuits();
        for dial in 0..=u32::try_from(MAX_DIALS).expect("small") {
            circuits.dial_began(dial, RELAY);
        }
        assert_eq!(circuits.dials.len(), MAX_DIALS);
        for index in 0..=MAX_WAITING {
            let dial = 1_000 + u32::try_from(index).expect("small");
            circuits.circuit_began(dial, circuit());
            let refused = circuits.failed(&dial, reason) == AfterFailure::GiveUp(PEER, None);
            assert_eq!(refused, index == MAX_WAITING);
        }
        assert_eq!(circuits.waiting.len(), MAX_WAITING);
    }
}

//! How often a tab looks for more peers, at relays and among its neighbours.

use std::time::Duration;

/// Below this many peers a tab discovers more often.
const FEW_PEERS: usize = 3;
/// Time between two discoveries with enough peers.
const DISCOVERY_INTERVAL: Duration = Duration::from_secs(20);
/// Time between two discoveries with few peers, for [`EAGER_DISCOVERY_DURATION`] after a change.
pub(crate) const EAGER_DISCOVERY_INTERVAL: Duration = Duration::from_millis(1_300);
/// How long a tab discovers at [`EAGER_DISCOVERY_INTERVAL`].
pub(crate) const EAGER_DISCOVERY_DURATION: Duration = Duration::from_secs(30);
/// Time between two discoveries with few peers after that: peers that come later find this tab on their own.
pub(crate) const LONELY_DISCOVERY_INTERVAL: Duration = Duration::from_secs(5);

/// Time between two discoveries while `members` of the room are connected. A change a moment ago makes a tab eager.
pub(crate) const fn interval(members: usize, is_eager: bool) -> Duration {
    if members >= FEW_PEERS {
        DISCOVERY_INTERVAL
    } else if is_eager {
        EAGER_DISCOVERY_INTERVAL
    } else {
        LONELY_DISCOVERY_INTERVAL
    }
}

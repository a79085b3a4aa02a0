//! Every tunable of the browser peer, with its unit and its reason. The rules of the chain are not here but in
//! `heartchain_chain`.

use std::time::Duration;

/// The room that a tab joins by default.
pub(crate) const DEFAULT_ROOM: &str = "lobby";

/// Blocks that one call of `blocks()` may ask for: a few screens, and one message of bodies.
pub(crate) const MAX_BLOCKS_PER_CALL: u64 = 512;

/// The highest limit of `ownReadings()`.
pub(crate) const MAX_OWN_READINGS_PER_CALL: u64 = 10_000;
/// The default limit of `ownReadings()`: a few screens.
pub(crate) const DEFAULT_OWN_READINGS: u64 = 100;

/// The highest limit of `pending()`: the capacity of the mempool.
pub(crate) const MAX_PENDING_PER_CALL: u64 = heartchain_chain::mempool::MAX_READINGS as u64;
/// The default limit of `pending()`: converting all of a full mempool takes a quarter of a second.
pub(crate) const DEFAULT_PENDING: u64 = 100;

/// The highest mining limit that makes sense, in hashes per second: no worker reaches it.
pub(crate) const MAX_MINING_LIMIT: u32 = 1_000_000_000;

/// Blocks of an export that are read and written at a time: half a megabyte of text at ten readings per block.
pub(crate) const EXPORT_BLOCKS_PER_CHUNK: usize = 128;
/// Waiting readings of an export that are written at a time.
pub(crate) const EXPORT_READINGS_PER_CHUNK: usize = 1_024;
/// Bytes of an export that are buffered before they are handed to the browser. The browser may put them on disk, so
/// wasm memory stays small.
pub(crate) const EXPORT_CHUNK_LEN: usize = 1024 * 1024;
/// The longest file to import, in UTF-16 units: some 70,000 blocks of ten readings. A document is parsed as a whole,
/// which takes several times its length in memory, and the longest string of a browser is about twice as long.
pub(crate) const MAX_IMPORT_LEN: u32 = 256_000_000;

/// Notices that are delivered to the page after one turn: more than a person reads.
pub(crate) const MAX_NOTICES_PER_TURN: usize = 32;

/// Commands of the page that may wait for the driver. A person enters one at a time, a heart-rate strap one per second.
pub(crate) const MAX_WAITING_COMMANDS: usize = 1_024;

/// Inputs that are handled before the page gets their events: a burst becomes a few events, and no event waits for more
/// than a few milliseconds of work.
pub(crate) const MAX_INPUTS_PER_TURN: usize = 64;

/// Requests that may wait for the store. The machine has a few dozen open at most; more means that storage is stuck.
pub(crate) const MAX_QUEUED_STORE_REQUESTS: usize = 1_024;
/// Queued writes that are grouped into one transaction: eight ranges of bodies and the records that follow from each,
/// or 1.3 MB at 10 readings per block.
pub(crate) const MAX_GROUPED_WRITES: usize = 16;

/// How long to wait for pending transactions after the browser closed the database. A version change lets transactions
/// finish, which takes milliseconds; a forced close leaves some without an answer.
pub(crate) const CLOSING_GRACE: Duration = Duration::from_secs(1);
/// Waits between attempts to reopen a database that the browser has closed. A deletion in progress takes a moment; a
/// failing disk needs a person.
pub(crate) const REOPEN_RETRY: &[Duration] = &[
    Duration::from_millis(200),
    Duration::from_millis(500),
    Duration::from_secs(1),
    Duration::from_secs(5),
    Duration::from_secs(15),
    Duration::from_secs(60),
];

/// In ms. A reading that is not on disk after this time counts in `status().storage.saving`. A busy disk takes at most
/// a tenth of it.
pub(crate) const SAVING_AFTER_MS: u64 = 3_000;
/// In ms. A store that has pending requests and has not answered for this time is stuck.
pub(crate) const STUCK_AFTER_MS: u64 = 10_000;

/// Unconfirmed entries of the journal that are mirrored outside of the database: more than an hour at one per second.
/// An entry takes 30 characters there, and browsers allow five million per origin.
pub(crate) const MAX_MIRRORED_ENTRIES: usize = 4_096;
/// Journal positions per page of the mirror: adding an entry writes at most 2,000 characters.
pub(crate) const MIRROR_PAGE: u8 = 64;
/// In ms. Time between two updates of the mirror, in which confirmed entries leave it.
pub(crate) const MIRROR_INTERVAL_MS: u64 = 5_000;

/// How long after its start a tab first looks for readings that closed tabs of this browser have not shared.
pub(crate) const ADOPTION_DELAY: Duration = Duration::from_secs(2);
/// Time between two such searches. A search finds tabs that were closed meanwhile; a tab that is reloaded has its slot
/// back before the next one.
pub(crate) const ADOPTION_INTERVAL: Duration = Duration::from_secs(15);
/// How long a search may lock another tab's slot. Shorter than [`SLOT_WAIT`], so that a reloaded tab still gets its
/// slot.
pub(crate) const ADOPTION_LOCK_TIMEOUT: Duration = Duration::from_millis(700);

/// Tabs of one browser that can store data in one room: enough for a person, and for testing a class. Each tab has a
/// database of its own; further tabs keep their data in memory.
pub(crate) const MAX_SLOTS: u32 = 64;
/// How long a reloaded page waits for its own slot, which the previous page may not have released yet. A duplicated tab
/// waits in vain.
pub(crate) const SLOT_WAIT: Duration = Duration::from_millis(1_000);
/// How long opening a database may take. It takes a moment unless the browser is stuck.
pub(crate) const OPEN_TIMEOUT: Duration = Duration::from_secs(15);
/// Blocks this far below the highest are settled: side blocks more than 1,000 below the tip are pruned.
pub(crate) const SETTLED_DEPTH: u64 = 1_024;
/// The most settled blocks in one segment. The database reads segments four times faster than single blocks.
pub(crate) const MAX_SEGMENT_BLOCKS: usize = 256;
/// The least consecutive blocks of one branch that are worth a segment at once, for instance while a tab catches up.
/// Ranges that peers are asked for are twice as long.
pub(crate) const MIN_SEGMENT_BLOCKS: usize = 64;
/// Bytes of a segment without its last block. A whole segment is read to get any one of its blocks.
pub(crate) const MAX_SEGMENT_LEN: usize = 512 * 1024;
/// Single block records that are read at a time when a tab starts: at most 8 MiB.
pub(crate) const LOADED_BLOCKS: u32 = 64;
/// Bytes of a segment's summary: each reading may have a different author.
pub(crate) const MAX_SUMMARY_LEN: usize = 512 * 1024;
/// Summaries that are read at a time when a tab starts: at most 8 MiB.
pub(crate) const LOADED_SUMMARIES: usize = 16;
/// Segments that are checked at a time while the tab is running: at most 3 MiB.
pub(crate) const CHECKED_SEGMENTS: usize = 4;
/// How long to wait before an interrupted check of the segments continues.
pub(crate) const CHECK_RETRY: Duration = Duration::from_secs(10);
/// A record counts as corrupt if this many attempts to read it fail, [`CHECK_RETRY`] apart, while other records can be
/// read.
pub(crate) const MAX_CHECK_ATTEMPTS: u32 = 3;
/// Entries of any other kind that are read at a time.
pub(crate) const LOADED_ENTRIES: u32 = 4_096;
/// In ms. How long the browser's estimate of the available space stays valid.
pub(crate) const ESTIMATE_AGE_MS: u64 = 10_000;
/// How long the browser may take for the estimate. It takes a few ms; after a timeout it is asked again.
pub(crate) const ESTIMATE_TIMEOUT: Duration = Duration::from_secs(2);
/// Bytes that blocks leave free for the tab's own readings, which take a hundred bytes each; at most an eighth of the
/// quota.
pub(crate) const RESERVED_FOR_OWN_READINGS: f64 = 4.0 * 1024.0 * 1024.0;
/// Bytes that other blocks additionally leave free for protected blocks: those with a reading that exists nowhere else.
pub(crate) const RESERVED_FOR_PROTECTED_BLOCKS: f64 = 4.0 * 1024.0 * 1024.0;

/// Attempts of `blocks()` before it gives up because the chain changed during each of them.
pub(crate) const BLOCKS_READ_ATTEMPTS: usize = 3;

/// Waits before a failed mining worker is restarted.
pub(crate) const MINER_RESTART: &[Duration] = &[
    Duration::from_secs(1),
    Duration::from_secs(2),
    Duration::from_secs(5),
    Duration::from_secs(15),
    Duration::from_secs(60),
];

/// Peers that a tab is connected to, not counting relays. Each costs pings, a gossip queue and a share of the relay.
pub(crate) const MAX_PEERS: usize = 24;
/// Slots for peers that the tab did not choose itself: they dialed it, or it dialed them for another reason. Peer IDs
/// are free, so inbound peers must not fill all slots; the rest is kept for the [`WANTED_PEERS`] that the tab looks
/// for.
pub(crate) const MAX_INBOUND_PEERS: usize = MAX_PEERS - WANTED_PEERS;
/// Connections to one peer: a relayed and a direct one, each twice while two tabs dial each other at the same time.
pub(crate) const MAX_CONNECTIONS_PER_PEER: u32 = 4;
/// Circuits among the connections to one peer: a relay limits the circuits of a tab, and a few peers must not use them
/// all.
pub(crate) const MAX_CIRCUITS_PER_PEER: u32 = 2;
/// Pending connections at one time, in each direction.
pub(crate) const MAX_PENDING_CONNECTIONS: usize = 16;
/// Peers that a tab looks for on its own: gossip needs about six neighbours.
pub(crate) const WANTED_PEERS: usize = 8;
/// Of [`WANTED_PEERS`], those that a tab chooses at random among all peers it knows of, however many have dialed it.
/// With more, a class that arrives at the same time would open twice as many connections as it needs.
pub(crate) const MIN_OUTBOUND_PEERS: usize = WANTED_PEERS / 2;
/// Below this many peers a tab discovers more often.
pub(crate) const FEW_PEERS: usize = 3;

/// A dial fails after this time, which covers the socket and all handshakes.
pub(crate) const DIAL_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a dial to a relay's address may stay unanswered before the next address is tried beside it. The first may
/// still succeed: a dead WebRTC address gives no sign until [`DIAL_TIMEOUT`].
pub(crate) const DIAL_FALLBACK_DELAY: Duration = Duration::from_millis(2_500);
/// Dials to one relay that are past [`DIAL_FALLBACK_DELAY`] and still pending, at one time.
pub(crate) const MAX_LATE_DIALS: usize = 4;
/// A reservation that a relay has not granted after this time is requested again.
pub(crate) const RESERVATION_TIMEOUT: Duration = Duration::from_secs(15);
/// A reservation that is lost after it stood for this long is requested again at once: in libp2p-relay 0.22, dialing a
/// peer that does not answer for a minute ends the dialer's own reservation. One that is always lost sooner has to
/// wait.
pub(crate) const STEADY_RESERVATION: Duration = Duration::from_secs(10);
/// Waits before a lost relay is dialed again, and before a refused reservation is requested again. The first is short
/// because most relays are back at once; the last keeps thirty tabs from overloading a dead relay.
pub(crate) const RELAY_REDIAL: &[Duration] = &[
    Duration::from_millis(500),
    Duration::from_secs(1),
    Duration::from_secs(2),
    Duration::from_secs(4),
    Duration::from_secs(8),
    Duration::from_secs(15),
];
/// Waits before an unreachable peer is dialed again: its reservation may not be granted yet, or its tab was closed and
/// its registration has not expired yet.
pub(crate) const PEER_REDIAL: &[Duration] = &[
    Duration::from_secs(3),
    Duration::from_secs(10),
    Duration::from_secs(30),
    Duration::from_secs(120),
];
/// How long a peer that does not take part in this room is not dialed.
pub(crate) const NON_MEMBER_BACKOFF: Duration = Duration::from_secs(600);

/// How long a registration lasts, and so the longest time for which others find a closed tab. Longer than a minute,
/// because browsers wake hidden tabs only once a minute.
pub(crate) const RENDEZVOUS_TTL: Duration = Duration::from_secs(120);
/// A registration is renewed after this time: twice in its lifetime, with time for one late renewal.
pub(crate) const RENDEZVOUS_RENEW: Duration = Duration::from_secs(40);
/// Time between two discoveries with enough peers.
pub(crate) const DISCOVERY_INTERVAL: Duration = Duration::from_secs(20);
/// Time between two discoveries with few peers, for [`EAGER_DISCOVERY_DURATION`] after a change.
pub(crate) const EAGER_DISCOVERY_INTERVAL: Duration = Duration::from_millis(1_300);
/// How long a tab discovers at [`EAGER_DISCOVERY_INTERVAL`].
pub(crate) const EAGER_DISCOVERY_DURATION: Duration = Duration::from_secs(30);
/// Time between two discoveries with few peers after that: peers that come later find this tab on their own.
pub(crate) const LONELY_DISCOVERY_INTERVAL: Duration = Duration::from_secs(5);
/// Registrations that one discovery asks for: about 64 KiB; the next answer continues where this one ended.
pub(crate) const MAX_DISCOVERED: u64 = 256;
/// Peers that are remembered as candidates for a dial. Any 8 of them will do.
pub(crate) const MAX_CANDIDATES: usize = 512;

/// Time between two pings on a connection. Pings keep a quiet direct connection alive, and measure the round trip that
/// the page shows. libp2p does not report a first failed ping, so a dead relay is found by [`RELAY_LIVENESS_TIMEOUT`],
/// and a dead tab by the state of its WebRTC connection.
pub(crate) const PING_INTERVAL: Duration = Duration::from_secs(2);
/// An unanswered ping fails after this time, and its connection with it, unless the remote is a peer of the room: that
/// has [`PEER_LIVENESS_TIMEOUT`].
pub(crate) const PING_TIMEOUT: Duration = Duration::from_secs(4);
/// A relay that has answered no ping for this long is dead. It may be busy while a class arrives. Together with the
/// housekeeping and closing the connection, a dead relay is noticed within 13 s.
pub(crate) const RELAY_LIVENESS_TIMEOUT: Duration = Duration::from_millis(10_500);
/// A peer that has answered no ping for this long is dead. Longer than for relays, because a tab may be busy checking a
/// chain, or be throttled.
pub(crate) const PEER_LIVENESS_TIMEOUT: Duration = Duration::from_secs(30);
/// How long closing a connection may wait for the remote to agree. A dead one never does.
pub(crate) const CLOSE_TIMEOUT: Duration = Duration::from_millis(500);
/// A connection whose remote has not identified its protocols after this time is closed.
pub(crate) const IDENTIFY_TIMEOUT: Duration = Duration::from_secs(20);
/// Of two circuits to one peer, the surplus one is closed after this time, when what it carried has arrived.
pub(crate) const SURPLUS_CIRCUIT_DELAY: Duration = Duration::from_secs(2);
/// The dialer closes a circuit to a peer with a direct connection after this time, when what it carried has arrived.
pub(crate) const UPGRADED_CIRCUIT_DELAY: Duration = Duration::from_secs(1);
/// How long a direct connection is kept after the browser reports it as disconnected, which is 6 s after the last
/// packet.
pub(crate) const DISCONNECTED_GRACE: Duration = Duration::from_millis(400);
/// How long a direct connection is kept without any incoming data. This finds a killed tab a little sooner than the
/// browser reports it. With pings every 2 s in both directions, even a busy tab rarely reaches it.
pub(crate) const DIRECT_LIVENESS_TIMEOUT: Duration = Duration::from_millis(5_250);
/// How long a circuit may stand beside a direct connection that fell silent, while a new one is negotiated: a
/// negotiation takes at most 10 s.
pub(crate) const REPLACEMENT_TIMEOUT: Duration = Duration::from_secs(10);
/// Time between two passes over all connections.
pub(crate) const HOUSEKEEPING_INTERVAL: Duration = Duration::from_secs(2);
/// If housekeeping is this late, the page was suspended: timeouts that expired meanwhile are not held against a peer.
pub(crate) const SUSPEND_THRESHOLD: Duration = Duration::from_secs(6);
/// An unused connection is closed after this time. Gossip and relaying use theirs all the time.
pub(crate) const IDLE_CONNECTION_TIMEOUT: Duration = Duration::from_secs(600);
/// Streams of one WebSocket or circuit at one time: 24 circuits, gossip, pings, and 4 requests in each direction.
pub(crate) const MAX_STREAMS_PER_CONNECTION: usize = 256;

/// Bytes of the largest gossip item: a block of 128 KiB, with some room to spare.
pub(crate) const MAX_GOSSIP_LEN: usize = 160 * 1024;
/// Bytes of a gossip item's id: collisions of 160 bits cannot be found.
pub(crate) const GOSSIP_ID_LEN: usize = 20;
/// Gossip items that may wait for their verdict. The machine holds back 64 blocks and decides on all else at once.
/// Items beyond this limit are not forwarded.
pub(crate) const MAX_PENDING_VALIDATIONS: usize = 1_024;
/// Pending items from one peer: eight peers would have to flood before items of other peers are not forwarded. The
/// machine holds back 4 blocks of each.
pub(crate) const MAX_PENDING_VALIDATIONS_PER_PEER: usize = 128;
/// A gossip item without a verdict is dropped after this time. The machine takes at most
/// [`heartchain_sync::config::VERDICT_PATIENCE`], and gossipsub forgets the item after [`GOSSIP_HISTORY`].
pub(crate) const VALIDATION_TIMEOUT: Duration = Duration::from_secs(6);
/// Heartbeats (of 1 s) for which a gossip item can still be validated and forwarded.
pub(crate) const GOSSIP_HISTORY: usize = 12;
const _: () = assert!(
    VALIDATION_TIMEOUT.as_millis() > heartchain_sync::config::VERDICT_PATIENCE as u128
        && VALIDATION_TIMEOUT.as_secs() < GOSSIP_HISTORY as u64
);
/// Gossip items queued for one peer before the peer counts as slow.
pub(crate) const MAX_GOSSIP_QUEUE: usize = 1_000;

/// The longest time for any request; the machine's own deadlines are no longer.
pub(crate) const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
/// Requests of one connection at one time: 4 in each direction, twice over.
pub(crate) const MAX_REQUEST_STREAMS: usize = 16;
/// Requests of other peers that may wait for a response: 4 from each of 24 peers, and some that were abandoned.
pub(crate) const MAX_UNANSWERED_REQUESTS: usize = 128;

/// Banned peers at one time. When the list is full, the ban that expires first is lifted.
pub(crate) const MAX_BANNED: usize = 1_024;

/// Neighbours with which a tab reserves a slot and exchanges peers. If possible, [`MIN_OUTBOUND_PEERS`] of them are
/// peers that the tab chose itself.
pub(crate) const MAX_EXCHANGE_PEERS: usize = WANTED_PEERS;
/// Peer IDs in one answer of the peer exchange: as many as a neighbour can be connected to.
pub(crate) const MAX_EXCHANGED_PEERS: usize = 24;
/// Bytes of such an answer: a peer ID takes about 40.
pub(crate) const MAX_PEER_LIST_LEN: usize = 2 * 1024;
/// How long a peer ID from the peer exchange is assumed to be reachable.
pub(crate) const EXCHANGED_PEER_TTL: Duration = Duration::from_secs(60);
/// Relay reservations that a tab grants to its neighbours: one for each peer.
pub(crate) const MAX_HOP_RESERVATIONS: usize = 24;
/// How long such a reservation lasts. It is renewed before it expires, and ends with its connection. It is long because
/// neighbours compare its expiry with their own clocks, which may be wrong by an hour.
pub(crate) const HOP_RESERVATION_DURATION: Duration = Duration::from_secs(6 * 60 * 60);
/// Circuits through a tab at one time.
pub(crate) const MAX_HOP_CIRCUITS: usize = 8;
/// Circuits of one neighbour through a tab at one time.
pub(crate) const MAX_HOP_CIRCUITS_PER_PEER: usize = 2;
/// How long a circuit through a tab may last: a direct connection takes a second, and at most 15 s.
pub(crate) const HOP_CIRCUIT_DURATION: Duration = Duration::from_secs(20);
/// Bytes that a circuit through a tab may carry: signalling takes 10 KiB, and the first requests of sync some more.
pub(crate) const HOP_CIRCUIT_BYTES: u64 = 256 * 1024;

/// Peers in the option `peers`: as many as a tab looks for on its own.
pub(crate) const MAX_NAMED_PEERS: usize = WANTED_PEERS;
/// Relays in the option `relays`.
pub(crate) const MAX_RELAYS: usize = 8;
/// STUN and TURN servers in use: Chromium warns at five.
pub(crate) const MAX_ICE_SERVERS: usize = 4;
/// Addresses of one relay: a dozen network interfaces with two transports.
pub(crate) const MAX_RELAY_ADDRESSES: usize = 32;
/// The longest relay document, in UTF-16 units.
pub(crate) const MAX_DOCUMENT_LEN: u32 = 64 * 1024;
/// How long fetching the relay document may take.
pub(crate) const DOCUMENT_TIMEOUT: Duration = Duration::from_secs(5);
